//! `image BIN MACHINE FILE`: what `cargo xtask image` delegates to.
//!
//! Writes Podwire's image of the programs in the folder BIN, which run on MACHINE, into FILE. What the cluster runs is made
//! by the same code.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use cluster::image;
use cluster::progress::say;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [bin, machine, file] = &arguments[..] else {
        say("usage: image BIN MACHINE FILE");
        return ExitCode::FAILURE;
    };
    match image::podwire_file(Path::new(bin), machine, Path::new(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("image: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
