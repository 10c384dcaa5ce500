//! The `spindle` binary: reads the command line and hands over to `cli`.

/// Buffers are large and short-lived: glibc maps and unmaps each of them, which costs page faults and, with
/// several shards, TLB shootdowns across cores. Those of direct I/O lie in huge pages.
#[global_allocator]
static ALLOCATOR: spindle::runtime::Allocator = spindle::runtime::Allocator;

fn main() {
    std::process::exit(spindle::cli::run());
}
