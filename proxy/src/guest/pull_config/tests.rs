use http::Request;
use pullgate_compat::guest::{GuestId, GuestKeys};
use pullgate_compat::signature::{Algorithm, SignatureKey};

use super::*;

fn head(target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::post(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn ask(target: &str, form: &str) -> Option<Asked> {
    let parts = head(target, &[]);
    may_be(&parts).then(|| asked(&parts, form.as_bytes()))?
}

#[test]
fn what_clients_ask() {
    let one = |guest: &str| {
        Some(Asked {
            guest: guest.into(),
            calls: Calls::One(Call::Config),
        })
    };
    let config = "/rest/pull.config.get.json";
    assert_eq!(
        ask(
            &format!("{config}?logTag=client_start"),
            "pull_guest_id=-15&CACHE=N"
        ),
        one("-15")
    );
    assert_eq!(
        ask("/rest/pull.config.get", "sessid=a&pull_guest_id=-15"),
        one("-15")
    );
    assert_eq!(ask(&format!("{config}?pull_guest_id=-15"), ""), one("-15"));
    let batch = ask(
        "/rest/batch.json",
        "pull_guest_id=-15&halt=0&cmd%5Btime%5D=server.time&cmd[config]=pull.config.get%3FCACHE%3DN",
    );
    let calls = vec![
        ("time".into(), Call::ServerTime),
        ("config".into(), Call::Config),
    ];
    assert_eq!(batch.unwrap().calls, Calls::Batch(calls));
}

#[test]
fn the_rest_is_the_sites() {
    for (target, form) in [
        ("/rest/pull.config.get.json", "sessid=abc&CACHE=N"),
        ("/rest/user.get.json", "pull_guest_id=-15"),
        ("/rest/1/token/pull.config.get.json", "pull_guest_id=-15"),
        ("/x/rest/pull.config.get.json", "pull_guest_id=-15"),
        ("/rest/batch.json", "pull_guest_id=-15"),
        ("/rest/batch.json", "pull_guest_id=-15&cmd[a]=user.get"),
        (
            "/rest/batch.json",
            "pull_guest_id=-15&cmd[a]=server.time&cmd[b]=user.get",
        ),
        ("/rest/batch.json", "pull_guest_id=-15&cmd=server.time"),
    ] {
        assert_eq!(ask(target, form), None, "{target} {form}");
    }
    let config = "/rest/pull.config.get.json";
    for headers in [
        [("content-type", "application/json")],
        [("content-type", "multipart/form-data; boundary=x")],
        [("content-length", "65537")],
        [("transfer-encoding", "chunked")],
    ] {
        assert!(!may_be(&head(config, &headers)), "{headers:?}");
    }
    let form = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=UTF-8",
    )];
    assert!(may_be(&head(config, &form)));
}

fn facts(version: u8, module: Module) -> Facts<'static> {
    let keys = GuestKeys::derive(&["a secret that is long enough for it"], "").unwrap();
    let key = SignatureKey::new(Algorithm::Sha1, "key");
    let guest = GuestId::new(15).unwrap();
    Facts {
        version,
        place: Place {
            host: "site.ru:8080",
            subscribe: "/bitrix/sub/",
            websocket: "/bitrix/subws/",
            rest: "/bitrix/rest/",
        },
        channels: Signed::of(guest, &keys, &key, 1_800_000_000, version > 3),
        module,
        ttl: 43_200,
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

fn one(facts: &Facts<'_>) -> String {
    let asked = Asked {
        guest: "-15".into(),
        calls: Calls::One(Call::Config),
    };
    answer(&asked, facts)
}

#[test]
fn the_answer_has_the_modules_shape() {
    let answer = one(&facts(4, Module::NONE));
    let start = "{\"result\":{\"server\":{\"version\":4,\"server_enabled\":true,\"mode\":\"personal\",\
        \"hostname\":\"site.ru\",\"long_polling\":\"http://site.ru:8080/bitrix/sub/\",\
        \"long_pooling_secure\":\"https://site.ru:8080/bitrix/sub/\",\"websocket_enabled\":true,\
        \"websocket\":\"ws://site.ru:8080/bitrix/subws/\",\"websocket_secure\":\"wss://site.ru:8080/bitrix/subws/\",\
        \"publish_enabled\":true,\"publish\":\"http://site.ru:8080/bitrix/rest/\",\
        \"publish_secure\":\"https://site.ru:8080/bitrix/rest/\",\"config_timestamp\":0},\
        \"api\":{\"revision_web\":19,\"revision_mobile\":3},\"channels\":{\"shared\":{\"id\":\"";
    assert!(answer.starts_with(start), "{answer}");
    let json: Value = serde_json::from_str(&answer).unwrap();
    let private = &json["result"]["channels"]["private"];
    assert_eq!(private["id"].as_str().unwrap().len(), 32 + 1 + 32 + 1 + 40);
    assert_eq!(private["public_id"].as_str().unwrap().len(), 32 + 1 + 40);
    assert_eq!(private["start"], "2027-01-15T08:00:00+00:00");
    assert_eq!(private["end"], "2027-01-15T20:00:00+00:00");
    assert_eq!(json["result"]["publicChannels"], false);
    assert_eq!(json["result"]["serverTime"], private["start"]);
    assert_eq!(json["time"]["start"], 1_800_000_000.0);
}

#[test]
fn version_3_has_no_public_id() {
    let json: Value = serde_json::from_str(&one(&facts(3, Module::NONE))).unwrap();
    let private = &json["result"]["channels"]["private"];
    assert_eq!(private["id"].as_str().unwrap().len(), 32 + 1 + 40);
    assert_eq!(private["public_id"], "");
    assert_eq!(json["result"]["server"]["publish_enabled"], false);
}

#[test]
fn what_the_module_says_is_kept() {
    let module =
        br#"{"result":{"server":{"config_timestamp":"1795000000"},"api":{"revision_web":31,
        "revision_mobile":4},"channels":{"shared":{"id":"abc.def","end":"later"}}}}"#;
    let json: Value = serde_json::from_str(&one(&facts(4, Module::of(module)))).unwrap();
    let result = &json["result"];
    assert_eq!(result["channels"]["shared"]["id"], "abc.def");
    assert_eq!(result["server"]["config_timestamp"], 1_795_000_000);
    assert_eq!(result["api"]["revision_web"], 31);
    assert_eq!(result["api"]["revision_mobile"], 4);
    for other in [
        &b"<html>"[..],
        b"{}",
        br#"{"result":{"server":{"config_timestamp":[]},"channels":{"shared":{"id":""}}}}"#,
    ] {
        let module = Module::of(other);
        assert_eq!((module.shared, module.config_timestamp), (None, 0));
    }
}

#[test]
fn a_batch_is_answered_by_name() {
    let asked = Asked {
        guest: "-15".into(),
        calls: Calls::Batch(vec![
            ("t".into(), Call::ServerTime),
            ("c".into(), Call::Config),
        ]),
    };
    let json: Value = serde_json::from_str(&answer(&asked, &facts(4, Module::NONE))).unwrap();
    let result = &json["result"];
    assert_eq!(result["result"]["t"], "2027-01-15T08:00:00+00:00");
    assert_eq!(result["result"]["c"]["server"]["version"], 4);
    assert_eq!(result["result_error"], serde_json::json!([]));
    assert!(result["result_time"]["c"]["start"].is_f64());
}
