//! What a newcomer sees first.

use std::net::SocketAddr;
use std::path::Path;

#[expect(clippy::print_stdout, reason = "a person at a terminal asked for it by starting in DEBUG")]
pub(crate) fn print(listen: SocketAddr, admin: SocketAddr, data_dir: &Path) {
    let host =
        if listen.ip().is_loopback() { format!("localhost:{}", listen.port()) } else { listen.to_string() };
    let token = format!("http://{host}/api/v1/communications/dev/token?user_id=driver-1");
    let lines = [
        "SafeShipper Realtime (DEBUG, embedded)".to_owned(),
        String::new(),
        format!("Chat as a driver      http://{host}/chat?as=driver-1"),
        format!("Chat as a dispatcher  http://{host}/chat?as=dispatcher-1"),
        format!("WebSocket             ws://{host}/ws/chat/?token=…"),
        format!("A token               curl -s '{token}'"),
        format!("Health and metrics    http://{admin}/readyz  http://{admin}/metrics"),
        format!("Data                  {}", data_dir.display()),
        "Stop                  Ctrl-C".to_owned(),
    ];
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    println!("┌{}┐", "─".repeat(width + 2));
    for line in &lines {
        println!("│ {line}{} │", " ".repeat(width - line.chars().count()));
    }
    println!("└{}┘", "─".repeat(width + 2));
}
