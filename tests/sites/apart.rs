//! What one site has is never seen at another.

use tungstenite::Message;

use super::{BLOG, SHOP, Sites, next, site};
use crate::engine::Engine;
use crate::harness::{SIGNATURE_KEY, get, wait_for};
use crate::push::{A, B};

const NOWHERE: (&str, &str) = ("http://127.0.0.1:1", "");

/// Both sites have the same key, so that nothing but the site itself keeps their channels apart.
fn with_one_key(engine: &Engine, more: &str) -> Sites {
    let tables = format!(
        "{}[push]\nsignature_key = \"{SIGNATURE_KEY}\"\npoll_timeout = \"8s\"\n{more}",
        engine.history()
    );
    Sites::shop_and_blog(NOWHERE, NOWHERE, &tables)
}

fn the_same_channel_is_two(engine: &Engine) {
    let sites = with_one_key(engine, "");
    let channel = sites.signed("shop", A);
    assert_eq!(channel, sites.signed("blog", A));
    let mut of_shop = sites.websocket(SHOP, &channel);
    wait_for(|| sites.online("shop", A));
    assert!(!sites.online("blog", A), "nobody listens there");
    sites.publish("shop", A, "to shop", 600);
    assert_eq!(next(&mut of_shop), "to shop");
    let mut of_blog = sites.websocket(BLOG, &channel);
    wait_for(|| sites.online("blog", A));
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}");
    std::thread::scope(|scope| {
        let polls = [SHOP, BLOG].map(|host| {
            let (sites, target) = (&sites, &target);
            scope.spawn(move || sites.get(host, target, &[]))
        });
        for name in ["shop", "blog"] {
            wait_for(|| sites.statistics(name)["pollings"] == 1);
        }
        sites.publish("blog", A, "to blog", 600);
        // The first that ever came there.
        assert_eq!(next(&mut of_blog), "to blog");
        let [shop, blog] = polls.map(|poll| poll.join().unwrap());
        assert_eq!(shop.status, 304, "{shop:?}");
        assert_eq!(crate::push::bodies(&blog.body), ["to blog"]);
    });
    sites.publish("shop", A, "again", 600);
    assert_eq!(next(&mut of_shop), "again");
    assert_eq!(sites.stored(SHOP, &channel), ["to shop", "again"]);
    assert_eq!(sites.stored(BLOG, &channel), ["to blog"]);
    assert_eq!(sites.statistics("shop")["websockets"], 1);
    assert_eq!(sites.statistics("shop")["daily"]["messages"]["unknown"], 2);
    assert_eq!(sites.statistics("blog")["daily"]["messages"]["unknown"], 1);
    drop(of_shop);
    wait_for(|| sites.statistics("shop")["websockets"] == 0);
    assert_eq!(sites.statistics("blog")["websockets"], 1);
}

/// The third listener of shop's channel takes the place of shop's first, and of nobody at blog, which allows three.
fn a_full_channel_is_full_at_its_site(engine: &Engine) {
    let allows = |most: u32| format!("push.limits.max_connections_per_channel = {most}\n");
    let sites = Sites::shop_and_blog(
        (NOWHERE.0, &allows(2)),
        (NOWHERE.0, &allows(3)),
        &format!(
            "{}[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n",
            engine.history()
        ),
    );
    let channel = sites.signed("shop", &format!("{A}:{B}"));
    let connected = |name: &str, host: &str, count: usize| {
        let open = |number| {
            let socket = sites.websocket(host, &channel);
            wait_for(|| sites.statistics(name)["websockets"] == number);
            socket
        };
        (1..=count).map(open).collect::<Vec<_>>()
    };
    let mut blogs = connected("blog", BLOG, 3);
    let mut shops = connected("shop", SHOP, 2);
    shops.push(sites.websocket(SHOP, &channel));
    let Message::Close(Some(close)) = shops[0].read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 4029);
    assert_eq!(sites.statistics("blog")["websockets"], 3);
    sites.publish("blog", A, "to all three", 0);
    for socket in &mut blogs {
        assert_eq!(next(socket), "to all three");
    }
}

mod on_memory {
    use super::Engine;

    #[test]
    fn the_same_channel_is_two() {
        super::the_same_channel_is_two(&Engine::Memory);
    }

    #[test]
    fn a_full_channel_is_full_at_its_site() {
        super::a_full_channel_is_full_at_its_site(&Engine::Memory);
    }
}

mod on_disk {
    use super::Engine;

    #[test]
    fn the_same_channel_is_two() {
        super::the_same_channel_is_two(&Engine::Disk);
    }

    #[test]
    fn a_full_channel_is_full_at_its_site() {
        super::a_full_channel_is_full_at_its_site(&Engine::Disk);
    }
}

#[test]
fn a_key_opens_its_own_site() {
    let key = |key: &str| format!("push.signature_key = \"{key}\"\n");
    let sites = Sites::shop_and_blog(
        (NOWHERE.0, &key("one")),
        (NOWHERE.0, &key("two")),
        "[push]\npoll_timeout = \"100ms\"\n",
    );
    for (name, own, other) in [("shop", SHOP, BLOG), ("blog", BLOG, SHOP)] {
        let channel = sites.signed(name, A);
        let target = format!("/bitrix/sub/?CHANNEL_ID={channel}");
        assert_eq!(sites.get(own, &target, &[]).status, 304);
        let refused = sites.get(other, &target, &[]);
        assert_eq!(
            (refused.status, refused.body.as_str()),
            (400, "4010: Wrong Channel Id.")
        );
        let mut socket = sites.websocket(other, &channel);
        let Message::Close(Some(close)) = socket.read().unwrap() else {
            panic!("no close frame")
        };
        assert_eq!(u16::from(close.code), 4010);
    }
}

/// What is broken of one site's state is broken there.
#[test]
fn a_damaged_site_harms_itself() {
    let quick = "push.poll_timeout = \"1s\"\n";
    let tables = site("shop", NOWHERE.0, quick) + &site("blog", &super::named("blog"), quick);
    let sites = Sites::start(&["shop", "blog"], &tables);
    let channels = [("shop", SHOP), ("blog", BLOG)].map(|(name, host)| {
        sites.publish(name, A, name, 600);
        (name, host, sites.signed(name, A))
    });
    let directory = std::sync::Arc::clone(&sites.server.directory);
    assert!(sites.server.terminate().0);
    let of_shop = directory.path().join("state/sites/shop");
    let mut files = vec![of_shop.join("history/data")];
    while let Some(path) = files.pop() {
        match path.is_dir() {
            true => files.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path())),
            false => std::fs::write(&path, [0xa5; 64]).unwrap(),
        }
    }
    let secret = of_shop.join("guest.secret");
    std::fs::remove_file(&secret).unwrap();
    std::fs::create_dir(&secret).unwrap();

    let sites = Sites::start_in(directory, &["shop", "blog"], &tables);
    wait_for(|| sites.server.log().contains("history is damaged"));
    let [shop, blog] = channels.map(|(_, host, channel)| sites.stored(host, &channel));
    assert_eq!((shop, blog), (vec![], vec!["blog".to_owned()]));
    assert!(
        sites
            .get(BLOG, "/", &crate::guests::PAGE)
            .cookie()
            .is_some()
    );
    assert_eq!(
        get(&sites.server.admin(), "/readyz", &[]).body,
        "shop: guests are not served: their secret cannot be used\n"
    );
    // And it is served as far as it can be.
    sites.publish("shop", A, "new", 600);
    assert_eq!(sites.stored(SHOP, &sites.signed("shop", A)), ["new"]);
}
