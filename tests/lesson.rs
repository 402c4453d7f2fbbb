//! The official lesson "Push & Pull для гостей", step by step as it stands there, with a module of today, which serves no
//! guests; and the recipes of docs/guests.md, taken from the page.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::bitrix::Site;
use crate::browser;
use crate::engine::{Engine, on_every_engine};
use crate::guests::{PAGE, SECRET};
use crate::harness::{Response, Server, root, send};

/// Registers the hook.
const REGISTERING: &str = r#"RegisterModuleDependences("main", "OnProlog", "main", "", "", 2, "local/scripts/pull_hit.php");"#;

/// Sends to a guest. The number is the one from which the lesson begins, and that the first guest gets.
const SENDING: &str = "$guestId = -1;

CModule::IncludeModule('pull');
CPullStack::AddByUser($guestId, Array(
\t'module_id' => 'test',
\t'command' => 'check',
\t'params' => Array(),
)); ";

/// Tells every guest a price.
const PRICE: &str = "<?php Pullgate\\Guest::sendToAll(
    ['module_id' => 'shop', 'command' => 'price', 'params' => ['id' => 5, 'price' => 990]]);";

/// What a page's code sees, for the tests.
const NUMBER: &str = "<?php echo 'number ', defined('PULL_USER_ID') ? PULL_USER_ID : 'none', '.';";

/// The code of the page in docs/ that has these words in it.
pub(crate) fn recipe(page: &str, language: &str, words: &str) -> String {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let fence = format!("```{language}\n");
    let mut found = text
        .split(&fence)
        .skip(1)
        .map(|code| code.split("```").next().unwrap())
        .filter(|code| code.contains(words));
    let code = found.next().unwrap_or_else(|| panic!("{page}: no {words}"));
    assert_eq!(found.next(), None, "{page}: {words} stands twice");
    code.to_owned()
}

/// init.php of the site, as docs/guests.md has it, with more behind it.
fn init(more: &str) -> String {
    let code = recipe("guests.md", "php", "require_once __DIR__ . '/Stack.php';");
    // Each test has a port of its own: the environment names it.
    let (define, rest) = code.split_once('\n').unwrap();
    assert!(define.starts_with("define('PULLGATE_PUBLISH_URL'"));
    format!("<?php\n{rest}{more}")
}

fn number(page: &Response) -> &str {
    let number = page.body.split("number ").nth(1);
    number
        .unwrap_or_else(|| panic!("{page:?}"))
        .split('.')
        .next()
        .unwrap()
}

fn registering(engine: &Engine) {
    for (main, line) in [
        ("root", REGISTERING.to_owned()),
        (
            "root",
            recipe("guests.md", "php", "\"local/scripts/pull_hit.php\""),
        ),
        (
            "local",
            recipe("guests.md", "php", "\"scripts/pull_hit.php\""),
        ),
        (
            "local",
            recipe("ru/guests.md", "php", "\"scripts/pull_hit.php\""),
        ),
    ] {
        let files = [
            ("/local/scripts/pull_hit.php", "{pull_hit.php}"),
            ("/page.php", NUMBER),
        ];
        let site = Site::of(engine, &files, &[("BITRIX_STUB_MAIN", main)]);
        let before = site.get("/page.php", &PAGE);
        assert_eq!(number(&before), "none");
        let cookie = format!("Cookie: {}", before.cookie().unwrap());
        site.run_php(&line);
        let after = site.get("/page.php", &[&cookie]);
        let proven = cookie.split('.').nth(1).unwrap();
        assert_eq!(number(&after), format!("-{proven}"), "{main}: {line}");
        // Whoever is logged in is no guest.
        let user = format!("{cookie}; BITRIX_STUB_USER=42");
        assert_eq!(number(&site.get("/page.php", &[&user])), "none");
    }
}

#[test]
fn the_printed_hook_has_the_line() {
    let hook = fs::read_to_string(root().join("compat/php/pull_hit.php")).unwrap();
    for line in [REGISTERING, &REGISTERING.replace("local/", "")] {
        assert!(hook.contains(line), "{line}");
    }
}

/// What is printed by the documented commands: three files, and the one with keys is for nobody else.
#[test]
fn installing() {
    for docs in ["guests.md", "ru/guests.md"] {
        let server = Server::start("http://127.0.0.1:1", SECRET);
        let directory = server.directory.path();
        let commands = recipe(docs, "sh", "pullgate php-hook Stack.php");
        let bin = Path::new(env!("CARGO_BIN_EXE_pullgate")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let status = Command::new("sh")
            .args(["-ec", &format!("umask 022\n{commands}")])
            .current_dir(directory)
            .env("PATH", path)
            .status()
            .unwrap();
        assert!(status.success());
        for (file, mode) in [
            ("pull_hit.php", 0o600),
            ("Guest.php", 0o644),
            ("Stack.php", 0o644),
        ] {
            let file = directory.join(file);
            let permissions = fs::metadata(&file).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{}", file.display());
            let parsed = Command::new("php").arg("-l").arg(&file).output().unwrap();
            assert!(parsed.status.success(), "{parsed:?}");
        }
    }
}

fn sending(engine: &Engine) {
    let unchanged = format!("<?php\n{SENDING}");
    let elsewhere = format!("<?php\nnamespace Other\\Module;\n{SENDING}")
        .replace("CModule::", "\\CModule::")
        .replace("CPullStack::", "\\CPullStack::");
    let documented = recipe("guests.md", "php", "CPullStack::AddByUser(-17, Array(");
    let documented = format!("<?php\n{}", documented.replace("-17", "-1"));
    let site = Site::of(
        engine,
        &[
            ("/local/php_interface/init.php", &init("")),
            ("/send.php", &unchanged),
            ("/elsewhere.php", &elsewhere),
            ("/documented.php", &documented),
            ("/page.php", NUMBER),
        ],
        &[],
    );
    let page = site.get("/page.php", &PAGE);
    assert_eq!(number(&page), "-1");
    let cookie = format!("Cookie: {}", page.cookie().unwrap());
    for path in ["/send.php", "/elsewhere.php", "/documented.php"] {
        assert_eq!(site.get(path, &[]).status, 200, "{path}");
    }
    let config = send(
        &site.server.site,
        "POST",
        "/rest/pull.config.get.json",
        &[&cookie],
        "pull_guest_id=-1&CACHE=N",
    );
    let id = config.json()["result"]["channels"]["private"]["id"].clone();
    let poll = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={:026}",
        id.as_str().unwrap(),
        0
    );
    let body = site.get(&poll, &[]).body;
    let check = r#"{"module_id":"test","command":"check","params":[],"extra":{"#;
    assert_eq!(body.matches(check).count(), 2, "{body}");
    let price = r#"{"module_id":"shop","command":"price","params":{"id":5,"price":990},"#;
    assert_eq!(body.matches(price).count(), 1, "{body}");
}

fn looking(engine: &Engine) {
    let site = Site::of(
        engine,
        &[
            ("/local/php_interface/init.php", &init("")),
            ("/page.php", NUMBER),
        ],
        &[],
    );
    browser::bitrix("looking", &site);
}

fn sending_to_all(engine: &Engine) {
    let all = "<?php Pullgate\\Guest::sendToAll(['module_id' => 'test', 'command' => 'check', 'params' => ['by' => 'all']]);";
    let shared = "<?php CPullStack::AddShared(['module_id' => 'test', 'command' => 'check', 'params' => ['by' => 'shared']]);";
    let site = Site::of(
        engine,
        &[
            ("/local/php_interface/init.php", &init("")),
            ("/page.php", NUMBER),
            ("/all.php", all),
            ("/shared.php", shared),
        ],
        &[],
    );
    browser::bitrix("sending_to_all", &site);
}

fn recipes_of_the_page(engine: &Engine) {
    // A site on which no module needs the client, nor prints its keys.
    let bare = [("BITRIX_STUB_NEEDED", "N"), ("BITRIX_STUB_KEYS", "N")];
    for docs in ["guests.md", "ru/guests.md"] {
        let start = recipe(docs, "php", "CJSCore::Init(['pull']);");
        let keys = recipe(docs, "php", "AssetLocation::AFTER_CSS");
        let composite = recipe(docs, "html", "new BX.PullClient({ guestMode: true");
        let scripts = ["main/core/core.js", "pull/b24jssdk.js", "pull/client.js"]
            .map(|file| format!("<script src=\"/bitrix/js/{file}\"></script>\n"));
        let site = Site::of(
            engine,
            &[
                (
                    "/local/php_interface/init.php",
                    &init(&format!("{start}{keys}")),
                ),
                ("/page.php", NUMBER),
                ("/cached.html", &format!("{}{composite}", scripts.concat())),
                ("/price.php", PRICE),
            ],
            &bare,
        );
        browser::bitrix("recipes", &site);

        let place = ",\n        false,\n        \\Bitrix\\Main\\Page\\AssetLocation::AFTER_CSS";
        let anywhere = keys.replace(place, "");
        assert_ne!(anywhere, keys);
        let site = Site::of(
            engine,
            &[
                (
                    "/local/php_interface/init.php",
                    &init(&format!("{start}{anywhere}")),
                ),
                ("/page.php", NUMBER),
            ],
            &bare,
        );
        browser::bitrix("keys_too_late", &site);
    }
}

on_every_engine!(
    registering,
    sending,
    looking,
    sending_to_all,
    recipes_of_the_page,
);
