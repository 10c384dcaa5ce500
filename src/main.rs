//! The `spindle` binary: reads the command line and hands over to `cli`.

/// Tail buffers and fetch buffers are large and short-lived: glibc maps and unmaps each of them, which costs
/// page faults and, with several shards, TLB shootdowns across cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(spindle::cli::run());
}
