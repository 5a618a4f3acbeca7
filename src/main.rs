//! The `leveret` binary: arguments, configuration, run, exit code.

fn main() {}
