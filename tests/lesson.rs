//! The official lesson "Push & Pull для гостей", step by step as it stands there, with a module of today, which serves no
//! guests; and the recipes of docs/guests.md, taken from the page.

use crate::bitrix::Site;
use crate::browser;
use crate::guests::PAGE;
use crate::harness::{Response, root, send};

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
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
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

#[test]
fn registering() {
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
        let site = Site::of(&files, &[("BITRIX_STUB_MAIN", main)]);
        let before = site.get("/page.php", &PAGE);
        assert_eq!(number(&before), "none");
        let cookie = format!("Cookie: {}", before.cookie().unwrap());
        site.run_php(&line);
        let after = site.get("/page.php", &[&cookie]);
        assert_eq!(number(&after), "-1", "{main}: {line}");
        // Whoever is logged in is no guest.
        let user = format!("{cookie}; BITRIX_STUB_USER=42");
        assert_eq!(number(&site.get("/page.php", &[&user])), "none");
    }
}

#[test]
fn the_printed_hook_has_the_line() {
    let hook = std::fs::read_to_string(root().join("compat/php/pull_hit.php")).unwrap();
    for line in [REGISTERING, &REGISTERING.replace("local/", "")] {
        assert!(hook.contains(line), "{line}");
    }
}

#[test]
fn sending() {
    let unchanged = format!("<?php\n{SENDING}");
    let elsewhere = format!("<?php\nnamespace Other\\Module;\n{SENDING}")
        .replace("CModule::", "\\CModule::")
        .replace("CPullStack::", "\\CPullStack::");
    let documented = recipe("guests.md", "php", "CPullStack::AddByUser(-17, Array(");
    let documented = format!("<?php\n{}", documented.replace("-17", "-1"));
    let site = Site::of(
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

#[test]
fn looking() {
    let site = Site::of(
        &[
            ("/local/php_interface/init.php", &init("")),
            ("/page.php", NUMBER),
        ],
        &[],
    );
    browser::bitrix("looking", &site);
}

#[test]
fn sending_to_all() {
    let all = "<?php Pullgate\\Guest::sendToAll(['module_id' => 'test', 'command' => 'check', 'params' => ['by' => 'all']]);";
    let shared = "<?php CPullStack::AddShared(['module_id' => 'test', 'command' => 'check', 'params' => ['by' => 'shared']]);";
    let site = Site::of(
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

#[test]
fn recipes_of_the_page() {
    for docs in ["guests.md", "ru/guests.md"] {
        let start = recipe(docs, "php", "CJSCore::Init(['pull']);");
        let keys = recipe(docs, "php", "AssetLocation::AFTER_CSS");
        let composite = recipe(docs, "html", "new BX.PullClient({ guestMode: true");
        let core = "<script src=\"/bitrix/js/main/core/core.js\"></script>\n";
        let client = "<script src=\"/bitrix/js/pull/b24jssdk.js\"></script>\n\
             <script src=\"/bitrix/js/pull/client.js\"></script>\n";
        let cached = format!("{core}{client}{composite}");
        // A page on which no module needs the client, nor prints its keys.
        let site = Site::of(
            &[
                (
                    "/local/php_interface/init.php",
                    &init(&format!("{start}{keys}")),
                ),
                ("/page.php", NUMBER),
                ("/cached.html", &cached),
                ("/price.php", PRICE),
            ],
            &[("BITRIX_STUB_NEEDED", "N"), ("BITRIX_STUB_KEYS", "N")],
        );
        browser::bitrix("recipes", &site);
    }
}
