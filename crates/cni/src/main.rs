//! `podwire-cni`, the CNI plugin: one call, one verb, one answer.
//!
//! The runtime gives the environment and a configuration on standard input, and gets one JSON object on standard output or
//! nothing (CNI specification 0.1.0 to 1.1.0). No other program is run but the IPAM plugin that type `bridge` is told to
//! ask, nothing is dumped, and nothing is waited for without end but the lock of the same attachment, that of a `dataDir`, and such an
//! IPAM plugin. Whatever is wrong with the input is said before anything is touched.

mod add;
mod addresses;
mod answer;
mod bridged;
mod check;
mod claim;
mod del;
mod delegate;
mod gc;
mod host_local;
mod log;
mod loopback;
mod order;
mod portmap;
mod ports;
mod reserved;
mod resolv;
mod standing;
mod status;
mod version;

use answer::Answer;
use log::Trace;
use model::cni::{Call, CniError, Code, Kind, Valid, Verb, Version, extend, hand_on};
use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

/// musl's own allocator asks the kernel for pages of their own for nearly every size, and gives them back at once; a call
/// that lives a millisecond spends a tenth of it on that.
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// More than any runtime sends; a configuration is a few kilobytes.
const INPUT: u64 = 8 << 20;

fn main() -> ExitCode {
    let called = called();
    match Call::read(&called, |name| {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }) {
        Ok(None) => answer::about(&called),
        Ok(Some(call)) => serve(&call, &called),
        Err(error) => {
            // The configuration is read only for the version to answer in.
            let version = input().map_or(Version::V1_1_0, |input| Valid::version_of(&input));
            answer::print(&Err(error), version)
        }
    }
}

fn serve(call: &Call, called: &str) -> ExitCode {
    // Before the input, which may be long in coming: GC goes by it.
    let began = host::clock::boottime_ns();
    let mut trace = Trace::start();
    let input = match input() {
        Ok(input) => input,
        Err(error) => return answer::print(&Err(error), Version::V1_1_0),
    };
    if call.verb == Verb::Version {
        return answer::print(&Ok(version::version(&input)), Valid::version_of(&input));
    }
    let conf = match Valid::read(&input, called) {
        Ok(conf) => conf,
        Err(error) => return answer::print(&Err(error), Valid::version_of(&input)),
    };
    trace.step("read");
    let outcome = match conf.kind {
        Kind::Podwire | Kind::BashCni | Kind::Bridge => run(call, &conf, began, &mut trace),
        Kind::Loopback => loopback::run(call, &conf, &mut trace),
        Kind::Portmap => portmap::run(call, &conf, began, &mut trace),
        Kind::HostLocal => host_local::run(call, &conf, began, &mut trace),
    };
    trace.finish(call, &conf, &outcome);
    answer::print(&outcome, conf.version)
}

/// The types that give a pod an interface with addresses: a file for each verb.
fn run(call: &Call, conf: &Valid, began: u64, trace: &mut Trace) -> Result<Answer, CniError> {
    match call.verb {
        Verb::Add => {
            // Refused input changes nothing.
            let earlier = conf.previous.as_ref();
            let earlier = earlier.map(|it| hand_on(it, conf.version)).transpose()?;
            let own = add::add(call, conf, trace)?.to_json(conf.version);
            Ok(Answer::Object(match earlier {
                Some(earlier) => extend(earlier, own),
                None => own,
            }))
        }
        Verb::Del => del::run(call, conf, trace).map(|()| Answer::Nothing),
        Verb::Check => check::run(call, conf, trace).map(|()| Answer::Nothing),
        Verb::Gc => gc::run(conf, began, trace).map(|()| Answer::Nothing),
        Verb::Status => status::status(call, conf).map(|()| Answer::Nothing),
        Verb::Version => Ok(Answer::Nothing),
    }
}

/// The name by which the plugin was called: the runtime finds a type by its file's name.
fn called() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn input() -> Result<String, CniError> {
    // A person's terminal has no configuration to say; waiting for one would look like a fault.
    if std::io::stdin().is_terminal() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(INPUT).read_to_end(&mut bytes);
    read.map_err(|error| {
        CniError::new(Code::Io, "reading standard input failed").details(error.to_string())
    })?;
    String::from_utf8(bytes).map_err(|error| {
        CniError::new(Code::Decode, "standard input is no UTF-8").details(error.to_string())
    })
}
