//! A server's processes, as the kernel counts them: CPU and memory, from /proc. They end with what started them.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::Result;
use crate::figures::to_f64;

/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that was started, and all the processes that it has made. Ends with the value.
pub(crate) struct Processes {
    child: Child,
}

impl Processes {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// User and system time of all, until now.
    pub(crate) fn cpu(&self) -> Duration {
        let ticks: u64 = self.all().iter().map(|process| process.ticks).sum();
        Duration::from_secs_f64(to_f64(ticks) / to_f64(rustix::param::clock_ticks_per_second()))
    }

    /// Resident memory of all, in bytes. What several share counts for each.
    pub(crate) fn memory(&self) -> u64 {
        self.all().iter().map(|process| process.resident).sum()
    }

    /// The process itself and its descendants.
    fn all(&self) -> Vec<Process> {
        let mut every: HashMap<u32, Process> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            if let Some(process) = id.and_then(Process::read) {
                every.insert(process.id, process);
            }
        }
        let own = self.child.id();
        let is_ours = |process: &Process| {
            let mut id = process.id;
            while id != own {
                match every.get(&id) {
                    Some(process) => id = process.parent,
                    None => return false,
                }
            }
            true
        };
        let ids: Vec<u32> = every
            .values()
            .filter(|process| is_ours(process))
            .map(|process| process.id)
            .collect();
        ids.iter().filter_map(|id| every.remove(id)).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let all = self.all();
        let pid = |id: u32| i32::try_from(id).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid(self.child.id()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(10));
        }
        // Workers that outlive their master, if any. The time of the start tells them from who has got their number.
        for process in &all {
            if Process::read(process.id).is_some_and(|now| now.began == process.began)
                && let Some(pid) = pid(process.id)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A line of /proc/PID/stat (proc_pid_stat(5)).
struct Process {
    id: u32,
    parent: u32,
    /// User and system time, in ticks.
    ticks: u64,
    /// When it was started, in ticks since the machine was.
    began: u64,
    /// Resident memory in bytes.
    resident: u64,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may have anything in it.
        let after_name = stat.rsplit_once(')')?.1;
        // The first of them is the third field of the page in the manual.
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            id,
            parent: u32::try_from(field(4)?).ok()?,
            ticks: field(14)? + field(15)?,
            began: field(22)?,
            resident: field(24)? * to_u64(rustix::param::page_size()),
        })
    }
}

fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Lets us, and whom we start, have as many files open as the machine allows.
pub(crate) fn raise_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}

/// `wanted` connections, or as many as servers take that leave some of their files for other things. We have both ends of none.
pub(crate) fn connections(wanted: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wanted.min(usize::try_from(files / 10 * 7).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "(while :; do :; done) & (while :; do :; done) & wait"]);
        let processes = Processes::start(&mut command).unwrap();
        let began = Instant::now();
        while processes.all().len() < 3 || processes.cpu().is_zero() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "no child is seen"
            );
            sleep(Duration::from_millis(10));
        }
        assert!(processes.memory() > 0);
        let ids: Vec<u32> = processes.all().iter().map(|process| process.id).collect();
        drop(processes);
        let is_there = |id: &u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while ids.iter().any(is_there) {
            assert!(began.elapsed() < Duration::from_secs(60), "a child is left");
            sleep(Duration::from_millis(10));
        }
    }
}
