//! `cluster VERB`: what `cargo xtask cluster` delegates to.
//!
//! It only reads arguments and reports errors; what a verb does stands in the library, in modules of the verbs' names. Two
//! more verbs are how the cluster makes its machines, and nobody types them.

use std::env;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use cluster::progress::say;
use cluster::{
    Cluster, Family, Place, Shape, bench, build, conformance, demo, image, lan, machine, scale,
};

struct Verb {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: fn(&Place, &[String]) -> Result<()>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "build",
        arguments: "[PART...]",
        does: "the programs from their Go modules, and the images",
        run: |place, parts| {
            build::build(place, parts)?;
            image::others(place)
        },
    },
    Verb {
        name: "up",
        arguments: "[NODES] [--family ipv4|ipv6|dual|dual6] [--proxy nftables|iptables|none] [--network podwire|reference|none]",
        does: "a running cluster of this shape; by default 2 nodes, the first choice of each",
        run: |place, words| Cluster::at(place, &Shape::parse(words)?).map(drop),
    },
    Verb {
        name: "test",
        arguments: "[--keep] [--all] [NAME...]",
        does: "the tests that CI runs, all, or those with NAME in their names; --keep, or Ctrl-C, leaves the cluster up",
        run: |_, _| bail!("it needs cargo; type: cargo xtask cluster test"),
    },
    Verb {
        name: "demo",
        arguments: "[--keep]",
        does: "the hand-made demo on a master and a worker; --keep leaves the cluster up",
        run: demo,
    },
    Verb {
        name: KUBECTL,
        arguments: "...",
        does: "kubectl as the administrator of the running cluster",
        run: |place, words| {
            let cluster = Cluster::running(place)?;
            become_command(cluster.kubectl_command()?.args(words))
        },
    },
    Verb {
        name: INSIDE,
        arguments: "MACHINE [COMMAND...]",
        does: "a command, or a shell, on a node, or on the machine of the control plane, `control`",
        run: inside,
    },
    Verb {
        name: "bench",
        arguments: "[ROUNDS]",
        does: "what pods cost, beside the reference plugins on a cluster of their own; ROUNDS on each",
        run: |place, words| {
            let rounds = match words {
                [] => 1,
                [word] => word.parse().context("it takes a number of rounds")?,
                _ => bail!("it takes a number of rounds, and nothing else"),
            };
            print(&bench::bench(place, rounds)?)
        },
    },
    Verb {
        name: "conformance",
        arguments: "[FOCUS] | --left-out",
        does: "upstream's cases of the network, all or those with FOCUS in their names; what of them is not run",
        run: |place, words| match words {
            [] => conformance::conformance(place, ""),
            [word] if word == "--left-out" => print(&conformance::left_out(place)?),
            _ => conformance::conformance(place, &words.join(" ")),
        },
    },
    Verb {
        name: "scale",
        arguments: "[NODES...] [--pods PODS]",
        does: "what the agent uses among nodes that exist in the API only; by default 500, then 5000, and 10000 pods",
        run: measure_scale,
    },
    Verb {
        name: "down",
        arguments: "",
        does: "no cluster; programs and images stay",
        run: |place, _| Cluster::down(place),
    },
];

/// What follows these is another program's.
const KUBECTL: &str = "k";
const INSIDE: &str = "inside";

/// The shell's convention for a command that was called wrongly.
const CALLED_WRONGLY: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if asks_for_help(&arguments) {
        say(usage());
        return ExitCode::SUCCESS;
    }
    match hidden(&arguments).or_else(|| run(&arguments)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            let verb = arguments.first().map_or("", String::as_str);
            say(format!("cluster {verb}: {error:#}"));
            ExitCode::FAILURE
        }
        None => {
            say(usage());
            ExitCode::from(CALLED_WRONGLY)
        }
    }
}

fn asks_for_help(arguments: &[String]) -> bool {
    let is_others = |verb: &String| verb == KUBECTL || verb == INSIDE;
    let words = match arguments.first() {
        Some(verb) if is_others(verb) => &[],
        _ => arguments,
    };
    words.iter().any(|word| word == "--help" || word == "-h")
}

fn run(arguments: &[String]) -> Option<Result<()>> {
    let (asked, rest) = arguments.split_first()?;
    let verb = VERBS.iter().find(|verb| verb.name == asked)?;
    Some(Place::find().and_then(|place| (verb.run)(&place, rest)))
}

fn demo(place: &Place, words: &[String]) -> Result<()> {
    let keep = match words {
        [] => false,
        [word] if word == "--keep" => true,
        _ => bail!("the demo knows no argument but --keep"),
    };
    let shape = Shape {
        family: Family::Dual,
        ..Shape::default()
    };
    // The lock goes with it: `down` wants it.
    let walk = Cluster::at(place, &shape).and_then(|cluster| demo::perform(&cluster))?;
    let faults = walk.faults();
    let end = if faults.is_empty() {
        format!(
            "\nEverything is as it must be: {} connections, each by ICMP and by TCP.\n",
            walk.count()
        )
    } else {
        String::new()
    };
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{walk}{end}").context("write the report")?;
    ensure!(
        faults.is_empty(),
        "not as it must be:\n{}\nThe cluster stays up to be looked at; to end it: cargo xtask cluster down",
        faults.join("\n")
    );
    if keep {
        say("cluster: it stays up; to end it, type: cargo xtask cluster down");
        return Ok(());
    }
    Cluster::down(place)
}

/// What the cluster calls itself with: verb, machine, place.
fn hidden(arguments: &[String]) -> Option<Result<()>> {
    let [verb, name, root] = arguments else {
        return None;
    };
    let place = Place::at(Path::new(root));
    match verb.as_str() {
        machine::START => Some(machine::start(&place, name)),
        machine::INIT => Some(cluster::init(&place, name).map(|never| match never {})),
        _ => None,
    }
}

fn inside(place: &Place, words: &[String]) -> Result<()> {
    let cluster = Cluster::running(place)?;
    let Some((name, command)) = words.split_first() else {
        bail!(
            "which machine? One of {}, {}",
            lan::CONTROL,
            cluster
                .nodes()
                .iter()
                .map(|node| node.name())
                .collect::<Vec<_>>()
                .join(", ")
        );
    };
    let machine = match name.as_str() {
        lan::CONTROL => cluster.outside(),
        name => (*cluster.node(name)?).clone(),
    };
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("bash", command),
    };
    become_command(machine.command(program)?.args(arguments))
}

fn measure_scale(place: &Place, words: &[String]) -> Result<()> {
    let (mut steps, mut pods) = (Vec::new(), 10_000);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let is_pods = word == "--pods";
        let word = if is_pods { words.next() } else { Some(word) };
        let number = word.and_then(|word| word.parse().ok());
        let number: usize = number.context("it takes numbers of nodes, and --pods and a number")?;
        if is_pods {
            pods = number;
        } else {
            steps.push(number);
        }
    }
    if steps.is_empty() {
        steps = vec![500, 5000];
    }
    print(&scale::table(&scale::scale(place, &steps, pods)?))
}

/// The result itself.
fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

fn become_command(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", command.get_program().display()))
}

fn usage() -> String {
    let mut text = String::from("usage: cluster VERB [ARGUMENTS]\n");
    for verb in VERBS {
        let call = format!("{} {}", verb.name, verb.arguments);
        text.push_str(&format!("\n  {}\n      {}", call.trim_end(), verb.does));
    }
    text
}
