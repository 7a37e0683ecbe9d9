//! The search: every order of steps and every kill, and what counts as a bad end.

use super::Verb::{Add, Del, Gc};
use super::{FOLLOW_UP, K, L, Process, Rules, State, Step, Verb};
use std::collections::HashSet;
use std::fmt::Write as _;

/// What each process does, to which key, and how the trace calls it. Each may start at any time, or never.
const CAST: [(Verb, usize, &str); super::CAST] = [
    (Add, K, "ADD of K"),
    (Add, K, "second ADD of K"),
    (Del, K, "DEL of K"),
    (Gc, K, "GC without K in its list"),
    (Add, L, "ADD of L"),
    (Del, K, "second DEL of K"),
    (Gc, K, "second GC without K in its list"),
];

/// Who acts at once. No bad end that was ever found needs more than four; each pair of verbs stands beside the ADD of L in one.
const COMPANIES: [[usize; 4]; 9] = [
    [0, 1, 2, 3],
    [0, 1, 2, 4],
    [0, 1, 3, 4],
    [0, 2, 3, 4],
    [0, 2, 5, 4],
    [0, 3, 6, 4],
    [2, 5, 3, 4],
    [0, 2, 3, 6],
    [0, 2, 5, 3],
];

impl State {
    /// One process from its start to its end, alone.
    fn alone(&mut self, verb: Verb, key: usize, rules: Rules) -> Step {
        self.processes[FOLLOW_UP] = Self::first().processes[FOLLOW_UP];
        while self.step(FOLLOW_UP, verb, key, rules).is_some() {}
        self.processes[FOLLOW_UP].step
    }

    fn nothing_of(&self, key: usize) -> bool {
        let of_key = |file: &usize| self.files[*file].is_some_and(|file| file.key == key);
        self.names[key].is_none()
            && self.links[key].is_none()
            && !self.leases.iter().flatten().any(of_key)
    }

    /// What is wrong here, if anything.
    fn bad(&self, rules: Rules) -> Option<&'static str> {
        if self.links[K].is_some() && self.links[K] == self.links[L] {
            return Some("two pods have one address");
        }
        if (0..FOLLOW_UP).any(|who| self.runs(who)) {
            return None;
        }
        for (who, &(verb, key, _)) in CAST.iter().enumerate() {
            let Process { step, file, .. } = self.processes[who];
            let doomed = self.files[file].is_some_and(|file| file.doomed);
            if verb == Add && step == Step::Answered && !doomed && !self.intact(file, key) {
                return Some("an ADD answered success, nobody deleted it, and it is not whole");
            }
        }
        for verb in [Del, Gc, Add] {
            let mut next = self.clone();
            let end = next.alone(verb, K, rules);
            match verb {
                Add if end != Step::Answered => return Some("the next ADD of K fails"),
                Del | Gc if !next.nothing_of(K) => return Some("the next DEL or GC leaks"),
                Add | Del | Gc => {}
            }
            next.alone(Del, K, rules);
            next.alone(Del, L, rules);
            if !(next.nothing_of(K) && next.nothing_of(L)) {
                return Some("after a last DEL of both something is left");
            }
        }
        None
    }
}

/// A state that was reached, and how.
struct Reached {
    state: State,
    from: usize,
    who: &'static str,
    did: &'static str,
}

/// Tries everything that these processes can do, the short ways first. How many states there are, or the trace to a bad one.
fn search(rules: Rules, cast: &[usize]) -> Result<usize, String> {
    let first = Reached {
        state: State::first(),
        from: 0,
        who: "",
        did: "",
    };
    let mut seen = HashSet::from([first.state.clone()]);
    let mut reached = vec![first];
    let mut at = 0;
    while at < reached.len() {
        let now = reached[at].state.clone();
        if let Some(bad) = now.bad(rules) {
            return Err(trace(&reached, at, bad));
        }
        let (mut waiting, mut progress) = (false, false);
        for &number in cast {
            let (verb, key, who) = CAST[number];
            let mut next = now.clone();
            let running = now.runs(number);
            let did = next.step(number, verb, key, rules);
            waiting |= running && did.is_none();
            progress |= did.is_some();
            let ways = [
                did.map(|did| (next, did)),
                running.then(|| (now.killed(number, verb), "is killed")),
            ];
            for (state, did) in ways.into_iter().flatten() {
                if seen.insert(state.clone()) {
                    let from = at;
                    reached.push(Reached {
                        state,
                        from,
                        who,
                        did,
                    });
                }
            }
        }
        if waiting && !progress {
            return Err(trace(&reached, at, "they wait for each other"));
        }
        at += 1;
    }
    Ok(reached.len())
}

fn trace(reached: &[Reached], mut at: usize, bad: &str) -> String {
    let mut lines = vec![format!("BAD: {bad}")];
    while at > 0 {
        let Reached { from, who, did, .. } = &reached[at];
        lines.push(format!("{who} {did}"));
        at = *from;
    }
    lines.iter().rev().fold(String::new(), |mut text, line| {
        writeln!(text, "  {line}").expect("a String takes it");
        text
    })
}

/// All companies, one after another.
fn each_four(rules: Rules) -> Result<usize, String> {
    COMPANIES
        .iter()
        .try_fold(0, |states, cast| Ok(states + search(rules, cast)?))
}

const ALL: Rules = Rules {
    locks: true,
    owner_checks: true,
    ages: true,
};

fn must_end_badly(without: &str, rules: Rules) {
    match each_four(rules) {
        Ok(states) => panic!("no bad end without {without} in {states} states"),
        Err(trace) => println!("without {without}:\n{trace}"),
    }
}

#[test]
fn with_locks_owner_checks_and_ages_there_is_no_bad_end() {
    match each_four(ALL) {
        Ok(states) => println!("{states} states, every one of them good"),
        Err(trace) => panic!("a bad end:\n{trace}"),
    }
}

#[test]
fn without_the_lock_there_is_a_bad_end() {
    let rules = Rules {
        locks: false,
        ..ALL
    };
    must_end_badly("the lock on the record", rules);
}

#[test]
fn without_the_owner_check_there_is_a_bad_end() {
    let rules = Rules {
        owner_checks: false,
        ..ALL
    };
    must_end_badly("the look at the owner", rules);
}

#[test]
fn without_the_comparison_of_ages_there_is_a_bad_end() {
    let rules = Rules { ages: false, ..ALL };
    must_end_badly("the comparison of ages", rules);
}
