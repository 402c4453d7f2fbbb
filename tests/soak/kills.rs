//! The site and Redis are killed now and then, and start again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::Soak;
use crate::engine::Engine;
use crate::guests::token_keys;
use crate::harness::{Php, Server};

/// Between two kills; short runs see few, for an upload must have the time to come to its end.
const PAUSE: Duration = Duration::from_secs(25);
/// How long what was killed stays away.
const AWAY: Duration = Duration::from_secs(3);

/// Whether a part is there.
#[derive(Default)]
pub(super) struct Part {
    state: Cell<State>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct State {
    kills: u32,
    is_down: bool,
}

impl Part {
    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn was_down_since(&self, before: State) -> bool {
        before.is_down || self.kills() != before.kills
    }

    pub(super) fn kills(&self) -> u32 {
        self.state().kills
    }

    fn goes(&self) {
        let kills = self.kills() + 1;
        let is_down = true;
        self.state.set(State { kills, is_down });
    }

    fn is_back(&self) {
        let kills = self.kills();
        let is_down = false;
        self.state.set(State { kills, is_down });
    }
}

/// PHP with workers, for slow readers keep one busy each.
pub(super) struct Site {
    port: u16,
    token_keys: String,
    php: Option<Php>,
}

impl Site {
    pub(super) fn new(port: u16, server: &Server) -> Self {
        let token_keys = token_keys(server);
        let mut site = Self {
            port,
            token_keys,
            php: None,
        };
        site.start();
        site
    }

    fn start(&mut self) {
        let environment = [
            ("PHP_CLI_SERVER_WORKERS", "8"),
            ("PULLGATE_TOKEN_KEYS", &self.token_keys),
        ];
        self.php = Some(Php::serve(self.port, "fixtures/site/", &environment));
    }

    /// kill -9, with all workers.
    fn kill(&mut self) {
        self.php = None;
    }
}

/// Kills one and then the other, until the traffic ends, and gives both back as they run.
pub(super) async fn now_and_then(
    soak: Rc<Soak>,
    mut site: Site,
    mut engine: Engine,
) -> (Site, Engine) {
    loop {
        sleep(PAUSE).await;
        if soak.is_over() {
            return (site, engine);
        }
        soak.back_end.goes();
        site.kill();
        sleep(AWAY).await;
        site.start();
        soak.back_end.is_back();

        let Engine::Redis(redis) = &mut engine else {
            continue;
        };
        sleep(PAUSE).await;
        if soak.is_over() {
            return (site, engine);
        }
        let _alone = soak.one_at_a_time.lock().await;
        let connected = || soak.server.log().matches("connected to Redis").count();
        let before = connected();
        soak.redis.goes();
        redis.kill();
        sleep(AWAY).await;
        redis.begin();
        while connected() == before {
            sleep(Duration::from_millis(10)).await;
        }
        soak.redis.is_back();
    }
}
