//! What processes cost, as the kernel counts it.

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// CPU and memory of the server's processes together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds of user and system time.
    pub(crate) cpu_s: f64,
    /// Bytes of anonymous memory: what the program itself asked for.
    pub(crate) memory_bytes: u64,
}

/// Reads the usage of all these processes.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn usage(pids: &[u32]) -> anyhow::Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}: is the server gone?"))
        };
        let ticks = cpu_ticks(&read("stat")?).context("the kernel's stat looks unlike itself")?;
        sum.cpu_s += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        sum.memory_bytes += anonymous_kib(&read("smaps_rollup")?).unwrap_or_default() * 1024;
    }
    Ok(sum)
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

/// Returns this process's own CPU time in seconds.
pub(crate) fn own_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
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
        let own = usage(&[std::process::id()]).unwrap();
        assert!(own.memory_bytes > 0);
        assert!(descriptors(&[std::process::id()]).unwrap() > 2);
        assert!(usage(&[u32::MAX]).is_err());
    }
}
