//! The `spindle` binary: reads the command line and hands over to `cli`.

fn main() {
    std::process::exit(spindle::cli::run());
}
