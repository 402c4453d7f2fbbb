//! The process of an attack: a crowd's own share of the machine is not to be what slows the others, so it is nice to everything
//! else.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::attacks::{OWN, Target};
use super::{Addresses, Group};

const NICE: &str = "10";

/// What slowhttptest does, by its arguments: in the clear, from 127.0.0.1.
const SLOWHTTPTEST: [(&str, &str); 4] = [
    ("slow heads", "-H -c 4000 -r 1000 -i 5"),
    ("slow bodies", "-B -c 4000 -r 1000 -i 5 -s 8192"),
    (
        "slow reading",
        "-X -c 4000 -r 1000 -w 512 -y 1024 -n 5 -z 32 -k 3",
    ),
    ("ranges", "-R -c 1000 -r 500 -a 5 -b 3000"),
];

/// Every attack's name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let theirs = SLOWHTTPTEST.iter().map(|(name, _)| *name);
    theirs.chain(OWN.iter().map(|attack| attack.name))
}

/// An attack that is under way; dropping it ends it.
pub(super) struct Attackers {
    _process: Group,
    directory: TempDir,
}

impl Attackers {
    pub(super) fn start(name: &str, addresses: &Addresses, channel: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("nice");
        command.args(["-n", NICE]);
        match SLOWHTTPTEST.iter().find(|(theirs, _)| *theirs == name) {
            Some((_, arguments)) => {
                let url = format!("http://{}/file", addresses.site);
                command
                    .args(["slowhttptest", "-l", "600", "-u", &url])
                    .args(arguments.split(' '));
            }
            None => {
                command
                    .arg(std::env::current_exe().unwrap())
                    .args(["--ignored", "--exact", "attack::attackers::attacks"])
                    .env("ATTACK", name)
                    .env("ATTACK_SITE", &addresses.site)
                    .env("ATTACK_BY_TLS", &addresses.by_tls)
                    .env("ATTACK_CHANNEL", channel)
                    .env("ATTACK_COUNTS", directory.path());
            }
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self {
            _process: Group::spawn(process),
            directory,
        }
    }

    /// How often it has been done. slowhttptest does not say.
    pub(super) fn done(&self) -> u64 {
        let text = std::fs::read_to_string(counted(self.directory.path()));
        text.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

fn counted(directory: &Path) -> PathBuf {
    directory.join("done")
}

#[test]
#[ignore = "a process of scripts/attack"]
fn attacks() {
    let given = |name: &str| std::env::var(name).expect("scripts/attack starts it");
    let name = given("ATTACK");
    let attack = OWN.iter().find(|attack| attack.name == name).unwrap();
    let target = Target {
        addresses: Rc::new(Addresses {
            site: given("ATTACK_SITE"),
            by_tls: given("ATTACK_BY_TLS"),
        }),
        channel: given("ATTACK_CHANNEL").into(),
        nth: 0,
        done: Rc::new(Cell::new(0)),
    };
    let directory = PathBuf::from(given("ATTACK_COUNTS"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.unwrap(), async {
        for nth in 0..attack.clients {
            let target = Target {
                nth,
                ..target.clone()
            };
            spawn_local(async move {
                loop {
                    // Refused or cut off: once more.
                    let _ = (attack.once)(target.clone()).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        loop {
            sleep(Duration::from_millis(200)).await;
            // Whole or not at all, for whoever reads it.
            let written = directory.join("written");
            std::fs::write(&written, target.done.get().to_string()).unwrap();
            std::fs::rename(&written, counted(&directory)).unwrap();
        }
    });
}
