//! The `quorate` command.

fn main() -> std::process::ExitCode {
    quorate_driver::cli::run(std::env::args_os().skip(1)).into()
}
