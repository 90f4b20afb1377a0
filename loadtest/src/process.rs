//! What processes cost, as the kernel counts it: the server's, and this one.

use crate::report::{Report, say};
use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::{Duration, Instant};

/// Part of its core above which the client, not the server, was measured. Performance page.
const CLIENT_BOUND: f64 = 0.9;

/// CPU and memory of the server's processes together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Seconds of user and system time.
    pub(crate) cpu_s: f64,
    /// Bytes of anonymous memory: what the program itself asked for.
    pub(crate) memory_bytes: u64,
}

/// Counts from one moment to another, both on the thread that does the client's work.
pub(crate) struct Meter<'a> {
    pids: &'a [u32],
    began: Instant,
    before: Vec<Usage>,
    client_cpu_s: f64,
}

/// What was spent between the two.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    /// None when no process of the server was named.
    pub(crate) server: Option<Usage>,
    /// Seconds of each process of the server, in the order in which they were named.
    each_cpu_s: Vec<f64>,
    /// Seconds of the thread that works at all sockets.
    client_cpu_s: f64,
}

impl<'a> Meter<'a> {
    /// Begins to count.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn begin(pids: &'a [u32]) -> anyhow::Result<Self> {
        let before = usages(pids)?;
        Ok(Self { pids, began: Instant::now(), before, client_cpu_s: own_cpu_s(ClockId::ThreadCPUTime) })
    }

    /// Returns what was spent until now.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn end(&self) -> anyhow::Result<Cost> {
        let client_cpu_s = own_cpu_s(ClockId::ThreadCPUTime) - self.client_cpu_s;
        let (wall_s, now) = (self.began.elapsed().as_secs_f64(), usages(self.pids)?);
        let pairs = self.before.iter().zip(&now);
        let each_cpu_s: Vec<f64> = pairs.map(|(before, now)| now.cpu_s - before.cpu_s).collect();
        let spent = Usage { cpu_s: each_cpu_s.iter().sum(), ..sum(&now) };
        let server = Some(spent).filter(|_| !self.pids.is_empty());
        Ok(Cost { wall_s, server, each_cpu_s, client_cpu_s })
    }
}

impl Cost {
    /// Reports it, and says when the client was the bottleneck.
    pub(crate) fn report(&self, report: &mut Report) {
        let client = self.client_cpu_s / self.wall_s;
        report.figure("client_cpu", client);
        report.set("client_was_the_bottleneck", client > CLIENT_BOUND);
        let mut told = format!("the client used {client:.2} of its core");
        if let Some(server) = self.server {
            report.figure("server_cpu_s", server.cpu_s);
            report.set("server_cpu_s_each", self.each_cpu_s.clone());
            report.figure("server_cpu", server.cpu_s / self.wall_s);
            report.set("server_memory_bytes", server.memory_bytes);
            told += &format!(", the server {:.2}", server.cpu_s / self.wall_s);
        }
        say(&told);
        if client > CLIENT_BOUND {
            say("the client was the bottleneck: this run says nothing of the server");
        }
    }
}

/// Reads the usage of all these processes together.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn usage(pids: &[u32]) -> anyhow::Result<Usage> {
    Ok(sum(&usages(pids)?))
}

fn sum(usages: &[Usage]) -> Usage {
    usages.iter().fold(Usage::default(), |sum, one| Usage {
        cpu_s: sum.cpu_s + one.cpu_s,
        memory_bytes: sum.memory_bytes + one.memory_bytes,
    })
}

fn usages(pids: &[u32]) -> anyhow::Result<Vec<Usage>> {
    let one = |pid: &u32| {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}: is the server gone?"))
        };
        let ticks = cpu_ticks(&read("stat")?).context("the kernel's stat looks unlike itself")?;
        Ok(Usage {
            cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            memory_bytes: anonymous_kib(&read("smaps_rollup")?).unwrap_or_default() * 1024,
        })
    };
    pids.iter().map(one).collect()
}

/// Returns how many descriptors these processes have open, one for each socket among them.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn descriptors(pids: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let folder = format!("/proc/{pid}/fd");
        sum += fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?.count() as u64;
    }
    Ok(sum)
}

/// Returns the CPU time of this thread or process, whichever the clock counts, in seconds.
pub(crate) fn own_cpu_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    (whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())).as_secs_f64()
}

/// utime + stime. The name in brackets may hold anything, so fields are counted from its end. proc(5).
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn anonymous_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 9 0 1 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(anonymous_kib("Rss: 10 kB\nAnonymous:        1234 kB\n"), Some(1234));
        assert!(descriptors(&[std::process::id()]).unwrap() > 2);
        assert!(usage(&[u32::MAX]).is_err());
    }

    #[test]
    fn what_is_spent_is_counted() {
        let own = [std::process::id()];
        let meter = Meter::begin(&own).unwrap();
        while meter.began.elapsed() < Duration::from_millis(200) {}
        let cost = meter.end().unwrap();
        let server = cost.server.unwrap();
        assert!(cost.client_cpu_s > 0.0 && server.cpu_s > 0.0 && server.memory_bytes > 0, "{cost:?}");
        assert!(cost.client_cpu_s <= cost.wall_s, "one thread: {cost:?}");
        assert_eq!(cost.each_cpu_s, [server.cpu_s]);
        assert!(Meter::begin(&[]).unwrap().end().unwrap().server.is_none());
    }

    #[test]
    fn several_processes_are_summed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // It sleeps when its memory is at rest.
        let mut once = usage(&[child.id()]).unwrap();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = usage(&[child.id()]).unwrap();
            if now == once && now.memory_bytes > 0 {
                break;
            }
            once = now;
        }
        let twice = usage(&[child.id(), child.id()]).unwrap();
        let descriptors = [&[child.id()][..], &[child.id(); 2]].map(|pids| super::descriptors(pids).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(twice, Usage { cpu_s: 2.0 * once.cpu_s, memory_bytes: 2 * once.memory_bytes });
        assert_eq!(descriptors[1], 2 * descriptors[0]);
    }
}
