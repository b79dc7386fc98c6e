//! Benchmarks of wouldblock beside its peers.

fn main() {}
