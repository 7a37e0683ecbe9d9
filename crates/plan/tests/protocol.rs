//! Why an attachment's record has a lock *and* every removal looks at the owner *and* GC compares ages.
//!
//! A model of the protocol, small enough to try everything: ADDs, DELs and GCs of one key K beside an ADD of another key L
//! that wants the same address, every order of their steps, and a SIGKILL between any two. A record is a file with a name;
//! a lease is one more name of that file (a hard link); a link is the kernel's. `search` tries it all: take one of the
//! three protections away and it prints the shortest way to a bad end; with all of them there is none.

mod search;

pub(crate) const K: usize = 0;
pub(crate) const L: usize = 1;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Add,
    Del,
    Gc,
}

use Verb::{Add, Del, Gc};

/// Who takes part at most.
const CAST: usize = 7;

/// The number of the process that is the runtime's follow-up when the others have ended.
const FOLLOW_UP: usize = CAST;

/// Which protections are on.
#[derive(Clone, Copy)]
struct Rules {
    locks: bool,
    owner_checks: bool,
    ages: bool,
}

/// The next step of a process; each is one system call, and between two of them anything may happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Not started. ADD and GC begin by reading the clock.
    Start,
    /// ADD links its record, already locked; DEL and GC, and an ADD that finds a record, open what has the name.
    Name,
    Lock,
    /// Does the name still mean the file that is locked?
    Confirm,
    /// ADD: is what an earlier ADD left intact?
    Judge,
    /// GC: is the record older than this call?
    Age,
    Lease,
    /// The address is taken: name the other one in the record first.
    Rewrite,
    Wire,
    Answer,
    Unwire,
    LookAtLease,
    DropLease,
    LookAtName,
    DropName,
    Answered,
    /// Ended, killed, or nothing more to expect of it.
    Ended,
}

use Step::{
    Age, Answer, Answered, Confirm, DropLease, DropName, Ended, Judge, Lease, Lock, LookAtLease,
    LookAtName, Name, Rewrite, Start, Unwire, Wire,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    step: Step,
    /// The file that it has open: its own record, or the one that it found.
    file: usize,
    /// The address that it read in the record.
    address: usize,
    /// The GCs that had read the clock when ADD did: a bit for each, by its number.
    young: u8,
}

/// A record's file; the ADD with the same number makes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct File {
    key: usize,
    address: usize,
    /// The GCs that it is younger than.
    young: u8,
    lock: Option<usize>,
    /// A DEL, or a GC that began later, has taken it on: it is right that it goes.
    doomed: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    names: [Option<usize>; 2],
    leases: [Option<usize>; 2],
    links: [Option<usize>; 2],
    files: [Option<File>; FOLLOW_UP + 1],
    processes: [Process; FOLLOW_UP + 1],
    /// The GCs that run, so that a record is young whose ADD begins now.
    gcs: u8,
}

impl State {
    fn first() -> Self {
        let process = Process {
            step: Start,
            file: 0,
            address: 0,
            young: 0,
        };
        Self {
            names: [None; 2],
            leases: [None; 2],
            links: [None; 2],
            files: [None; FOLLOW_UP + 1],
            processes: [process; FOLLOW_UP + 1],
            gcs: 0,
        }
    }

    /// What `who` does next, in words; `None` if it has ended or waits.
    fn step(&mut self, who: usize, verb: Verb, key: usize, rules: Rules) -> Option<&'static str> {
        let mut me = self.processes[who];
        let words = match me.step {
            Start => {
                me.young = if verb == Add { self.gcs } else { 0 };
                self.gcs |= u8::from(verb == Gc) << who;
                me.step = Name;
                "starts"
            }
            Name => self.name(&mut me, who, verb, key, rules),
            Lock => self.lock(&mut me, who, verb)?,
            Confirm => self.confirm(&mut me, verb, key),
            Judge => self.judge(&mut me, key),
            Age => self.age(&mut me, who, rules),
            Lease => self.lease(&mut me),
            Rewrite => self.rewrite(&mut me),
            Wire => self.wire(&mut me, key),
            Answer => {
                self.unlock(me.file);
                me.step = Answered;
                "answers: success"
            }
            Unwire | LookAtLease | DropLease | LookAtName | DropName => {
                self.remove(&mut me, verb, key, rules)
            }
            Answered | Ended => return None,
        };
        self.processes[who] = me;
        self.forget(who, verb);
        Some(words)
    }

    fn name(
        &mut self,
        me: &mut Process,
        who: usize,
        verb: Verb,
        key: usize,
        rules: Rules,
    ) -> &'static str {
        match (self.names[key], verb) {
            (None, Add) => {
                self.files[who] = Some(File {
                    key,
                    address: 0,
                    young: me.young,
                    lock: rules.locks.then_some(who),
                    doomed: false,
                });
                self.names[key] = Some(who);
                (me.file, me.step) = (who, Lease);
                "links its record, which names address 0"
            }
            (None, Del | Gc) => {
                me.step = Ended;
                "finds no record and answers"
            }
            (Some(file), _) => {
                me.file = file;
                me.step = if rules.locks {
                    Lock
                } else {
                    self.opened(file, verb)
                };
                "opens the record that is there"
            }
        }
    }

    /// Where the work on a record begins that was there.
    fn opened(&mut self, file: usize, verb: Verb) -> Step {
        match verb {
            Add => Judge,
            Gc => Age,
            Del => {
                self.file(file).doomed = true;
                Unwire
            }
        }
    }

    fn lock(&mut self, me: &mut Process, who: usize, verb: Verb) -> Option<&'static str> {
        match (self.file(me.file).lock, verb) {
            (Some(_), Gc) => {
                me.step = Ended;
                return Some("finds the record locked and leaves it");
            }
            (Some(_), Add | Del) => return None,
            (None, _) => self.file(me.file).lock = Some(who),
        }
        me.step = Confirm;
        Some("locks the record")
    }

    fn confirm(&mut self, me: &mut Process, verb: Verb, key: usize) -> &'static str {
        if self.names[key] == Some(me.file) {
            me.step = self.opened(me.file, verb);
            return "sees that the name still means this record";
        }
        self.unlock(me.file);
        me.step = Name;
        "sees that the name means another record and begins again"
    }

    fn judge(&mut self, me: &mut Process, key: usize) -> &'static str {
        if !self.intact(me.file, key) {
            me.step = Unwire;
            return "finds an attachment that is not whole";
        }
        let removing = [Unwire, LookAtLease, DropLease, LookAtName, DropName];
        let removes = |p: &Process| p.file == me.file && removing.contains(&p.step);
        // A DEL that was killed before it did anything does not count any more.
        self.file(me.file).doomed = self.processes.iter().any(removes);
        me.step = Answer;
        "finds everything intact"
    }

    fn age(&mut self, me: &mut Process, who: usize, rules: Rules) -> &'static str {
        let young = self.file(me.file).young >> who & 1 == 1;
        if young && rules.ages {
            self.unlock(me.file);
            me.step = Ended;
            return "finds the record younger than its call and leaves it";
        }
        self.file(me.file).doomed |= !young;
        me.step = Unwire;
        "takes the record on"
    }

    fn lease(&mut self, me: &mut Process) -> &'static str {
        let address = self.file(me.file).address;
        if self.leases[address].is_some() {
            me.step = if address == 0 { Rewrite } else { Ended };
            "finds the address taken"
        } else if self.has_name(me.file) {
            self.leases[address] = Some(me.file);
            me.step = Wire;
            "links the lease"
        } else {
            me.step = Ended;
            "cannot link a lease to a record without a name, and fails"
        }
    }

    fn rewrite(&mut self, me: &mut Process) -> &'static str {
        self.file(me.file).address = 1;
        me.step = Lease;
        "names address 1 in its record"
    }

    fn wire(&mut self, me: &mut Process, key: usize) -> &'static str {
        if self.links[key].is_some() {
            me.step = Ended;
            return "finds its link's name taken and fails";
        }
        self.links[key] = Some(self.file(me.file).address);
        me.step = Answer;
        "makes the link"
    }

    /// DEL, GC, and an ADD that clears away what it found: link, lease, and the record last.
    fn remove(&mut self, me: &mut Process, verb: Verb, key: usize, rules: Rules) -> &'static str {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the other steps are not for here"
        )]
        let (step, words) = match me.step {
            Unwire => {
                me.address = self.file(me.file).address;
                self.links[key] = None;
                (LookAtLease, "removes the link")
            }
            LookAtLease => {
                let owner = self.leases[me.address].and_then(|owner| self.files[owner]);
                if owner.is_some_and(|owner| owner.key == key || !rules.owner_checks) {
                    (DropLease, "finds the lease to remove")
                } else {
                    (LookAtName, "finds no lease to remove")
                }
            }
            DropLease => {
                self.leases[me.address] = None;
                (LookAtName, "removes the lease")
            }
            LookAtName if self.names[key] == Some(me.file) => {
                (DropName, "sees that the name still means the record")
            }
            DropName => {
                self.names[key] = None;
                self.unlock(me.file);
                (if verb == Add { Name } else { Ended }, "removes the record")
            }
            _ => {
                let words = "sees that the name means another record";
                self.unlock(me.file);
                (if verb == Add { Name } else { Ended }, words)
            }
        };
        me.step = step;
        words
    }

    fn killed(&self, who: usize, verb: Verb) -> Self {
        let mut next = self.clone();
        next.processes[who].step = Ended;
        for file in next.files.iter_mut().flatten() {
            file.lock = file.lock.filter(|&holder| holder != who);
        }
        next.forget(who, verb);
        next
    }

    /// Drops what nobody can see any more, so that states that differ only in that are one.
    fn forget(&mut self, who: usize, verb: Verb) {
        let me = &mut self.processes[who];
        if me.step != Name {
            me.young = 0;
        }
        if !matches!(me.step, LookAtLease | DropLease) {
            me.address = 0;
        }
        if matches!(me.step, Name | Ended) {
            me.file = 0;
        }
        if verb == Gc && me.step == Ended {
            let others = !(1 << who);
            self.gcs &= others;
            for process in &mut self.processes {
                process.young &= others;
            }
            for file in self.files.iter_mut().flatten() {
                file.young &= others;
            }
        }
        for process in &mut self.processes {
            let doomed = self.files[process.file].is_some_and(|file| file.doomed);
            if process.step == Answered && doomed {
                (process.step, process.file) = (Ended, 0);
            }
        }
        for file in 0..self.files.len() {
            let open = |process: &Process| {
                process.file == file && !matches!(process.step, Start | Name | Ended)
            };
            if !self.has_name(file) && !self.processes.iter().any(open) {
                self.files[file] = None;
            }
        }
    }

    fn has_name(&self, file: usize) -> bool {
        self.names.contains(&Some(file)) || self.leases.contains(&Some(file))
    }

    fn file(&mut self, file: usize) -> &mut File {
        self.files[file].as_mut().expect("it was opened")
    }

    fn unlock(&mut self, file: usize) {
        self.file(file).lock = None;
    }

    fn runs(&self, who: usize) -> bool {
        !matches!(self.processes[who].step, Start | Answered | Ended)
    }

    fn intact(&self, file: usize, key: usize) -> bool {
        let Some(record) = self.files[file] else {
            return false;
        };
        self.names[key] == Some(file)
            && self.leases[record.address] == Some(file)
            && self.links[key] == Some(record.address)
    }
}
