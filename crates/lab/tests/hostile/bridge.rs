//! Somebody else makes the bridge while an ADD is on its way to make it.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::plugin::Answer;
use lab::{Lab, wire};
use serde_json::Value;

use super::{Caller, Type, is_civil};

/// How often, each time a little later: longer than an ADD takes.
const ROUNDS: u32 = 40;
const STEP: Duration = Duration::from_micros(100);

/// An ADD and somebody who makes a bridge of that name, begun together; whether that one made it.
fn together(caller: &Caller, bridge: &str, later: Duration) -> Result<(Answer, bool)> {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            caller.node.attempt(|| {
                start.wait();
                let begun = Instant::now();
                while begun.elapsed() < later {
                    std::hint::spin_loop();
                }
                Ok(wire::add_bridge(bridge, wire::mac_of("theirs")).is_ok())
            })
        });
        start.wait();
        let answer = caller.call("ADD", &Value::Null)?;
        let made = other.join().ok().context("a panic")??;
        Ok((answer, made))
    })
}

#[test]
fn a_bridge_that_somebody_else_makes_in_the_same_moment_serves_as_well() -> Result<()> {
    for (kind, bridge) in [(Type::BashCni, "cni0"), (Type::Bridge, "br7")] {
        Lab::scenario(|lab| {
            let caller = Caller::new(lab, kind)?;
            let mut theirs = 0;
            for round in 0..ROUNDS {
                let (answer, made) = together(&caller, bridge, STEP * round)?;
                is_civil(&answer)?;
                theirs += u32::from(made);
                let told = answer.ok().with_context(|| format!("round {round}"))?;
                caller
                    .call("CHECK", &told)?
                    .ok()
                    .with_context(|| format!("round {round}"))?;
                caller.end()?;
                caller.node.attempt(|| {
                    ensure!(wire::exists(bridge), "it went with the pod");
                    wire::delete_link(bridge)
                })?;
            }
            println!("{kind:?}: {theirs} of {ROUNDS} bridges were somebody else's");
            Ok(())
        })?;
    }
    Ok(())
}
