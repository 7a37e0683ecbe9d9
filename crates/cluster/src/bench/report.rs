//! The figures as tables that stand in docs/performance.md as they are printed.

use std::time::Duration;

use super::calls::Calls;
use super::{Agent, Round};
use crate::meter::mib;
use crate::quantile::quantile;
use crate::shape::Network;

pub(super) fn table(rounds: &[Round]) -> String {
    let mut text = String::from(
        "| | create to Ready, one pod: p50 | worst | ADD, one by one | DEL | 50 pods, create to all Ready: p50 | worst | ADD among them | DEL |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (network, title) in [
        (Network::Podwire, "**podwire**"),
        (
            Network::Reference,
            "reference bridge + host-local + portmap",
        ),
    ] {
        let of = rounds.iter().filter(|round| round.network == network);
        text.push_str(&line(title, &of.collect::<Vec<_>>()));
    }
    for agent in rounds.iter().filter_map(|round| round.agent.as_ref()) {
        text.push_str(&about(agent));
    }
    text
}

fn line(title: &str, rounds: &[&Round]) -> String {
    let sorted = |of: fn(&Round) -> &Vec<Duration>| {
        let mut times: Vec<_> = rounds.iter().flat_map(|round| of(round).clone()).collect();
        times.sort_unstable();
        times
    };
    let (alone, together) = (
        sorted(|round| &round.alone),
        sorted(|round| &round.together),
    );
    let sum = |of: fn(&Round) -> &Calls| {
        let none = Calls::default();
        rounds.iter().fold(none, |sum, round| sum.and(of(round)))
    };
    let (one, many) = (
        sum(|round| &round.alone_calls),
        sum(|round| &round.together_calls),
    );
    let cells = [
        seconds(quantile(&alone, 50)),
        seconds(quantile(&alone, 100)),
        milliseconds(one.add.mean()),
        milliseconds(one.del.mean()),
        seconds(quantile(&together, 50)),
        seconds(quantile(&together, 100)),
        milliseconds(many.add.mean()),
        milliseconds(many.del.mean()),
    ];
    format!("| {title} | {} |\n", cells.join(" | "))
}

fn about(agent: &Agent) -> String {
    let percent = |load: f64| format!("{:.2} %", load * 100.0);
    format!(
        "\nThe agent of a node, idle for {} s: {} of a processor, {} resident ({} not the program's file). \
         While 100 pods come and go on two nodes in {} s: {} of a processor ({} altogether); then {}, at its peak {}.\n",
        agent.idle.span.as_secs(),
        percent(agent.idle.load()),
        mib(agent.before.resident),
        mib(agent.before.anonymous),
        agent.churn.span.as_secs(),
        percent(agent.churn.load()),
        milliseconds(agent.churn.processor),
        mib(agent.after.resident),
        mib(agent.after.peak),
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
