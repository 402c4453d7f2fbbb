//! A process with all its children, which ends with the test: also when the test panics, and when the
//! whole test process is killed.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// A started process; its children are in its process group unless they leave it.
pub(crate) struct Group(Child);

impl Group {
    /// Panics, with what to install, when the program is not there.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.process_group(0).spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("{program}: {error}; it must be installed")
        });
        UNDERTAKER.tell('+', child.id());
        Self(child)
    }

    /// kill -9, for the children too.
    pub(crate) fn end(&mut self) {
        // An error means that all of them have ended.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        UNDERTAKER.tell('-', self.0.id());
    }
}

impl Deref for Group {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Group {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

static UNDERTAKER: LazyLock<Undertaker> = LazyLock::new(Undertaker::start);

/// A shell that is told of every group, and ends those that are left when nobody can tell it any more.
struct Undertaker(Mutex<ChildStdin>);

impl Undertaker {
    fn start() -> Self {
        let script = "trap '' INT TERM HUP; groups=' '
            while read -r change group; do
              case $change in
                +) groups=\"$groups$group \" ;;
                -) groups=\"${groups%% \"$group\" *} ${groups#* \"$group\" }\" ;;
              esac
            done
            for group in $groups; do kill -KILL \"-$group\"; done";
        let shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the tests; it comes after them.
            .process_group(0)
            .spawn();
        Self(Mutex::new(shell.unwrap().stdin.take().unwrap()))
    }

    fn tell(&self, change: char, group: u32) {
        let mut shell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(shell, "{change} {group}").unwrap();
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process_group;

    use super::*;
    use crate::harness::{Php, free_port, wait_for};

    fn lives(group: u32) -> bool {
        let group = Pid::from_raw(group.try_into().unwrap()).unwrap();
        test_kill_process_group(group).is_ok()
    }

    #[test]
    fn no_worker_outlives_its_server() {
        let workers = [("PHP_CLI_SERVER_WORKERS", "3")];
        let php = Php::serve(free_port(), "fixtures/site/", &workers);
        let group = php.pid();
        assert!(lives(group));
        drop(php);
        wait_for(|| !lives(group));
    }

    #[test]
    fn nothing_outlives_the_tests() {
        let undertaker = Undertaker::start();
        let start = || {
            let mut parent = Command::new("sh");
            parent.args(["-c", "sleep 1000 & sleep 1000"]);
            let group = Group::spawn(&mut parent);
            undertaker.tell('+', group.id());
            group
        };
        let mut groups: Vec<Group> = std::iter::repeat_with(start).take(4).collect();
        let other = groups.remove(1);
        undertaker.tell('-', other.id());
        // As the kernel does when the test process ends.
        drop(undertaker);
        for group in &mut groups {
            wait_for(|| group.try_wait().unwrap().is_some() && !lives(group.id()));
        }
        assert!(lives(other.id()), "that one was not its business any more");
    }
}
