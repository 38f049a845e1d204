//! What runs in the container: it looks around and writes down what it sees.

mod facts;

fn main() {
    let report: String = facts::gather().iter().map(|(name, value)| format!("{name}\t{value}\n")).collect();
    if let Err(error) = std::fs::write("/out/report", report) {
        eprintln!("write /out/report: {error}");
        std::process::exit(1);
    }
}
