//! What wakes the agent: the cluster's source, the kernel, the pods' records, the conflist.

use crate::source::{self, Source};
use anyhow::{Context, Result};
use host::events::{Events, Port};
use host::watch::Watch;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::debug;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The source may have something new.
    Source,
    /// A link, an address, a route, or the ruleset.
    Kernel,
    /// A pod's record, or the runtime's configuration.
    Files,
}

/// Everything that is listened to besides the source.
pub(crate) struct Wake {
    events: Events,
    route: AsyncFd<OwnedFd>,
    nftables: AsyncFd<OwnedFd>,
    records: AsyncFd<Watch>,
    run: PathBuf,
    conflist: PathBuf,
    own: [Port; 2],
    /// Whether the kernel may lead packets another way than when it was last asked.
    ways: bool,
}

impl Wake {
    /// Begins to listen. `run` holds the networks' state, `conflist` is the runtime's configuration; what is done through the
    /// ports `own` is no news.
    pub(crate) fn open(run: &Path, conflist: &Path, own: [Port; 2]) -> Result<Self> {
        let events = Events::open()?;
        let [route, nftables] = events.as_fds().map(|fd| {
            let fd = fd.try_clone_to_owned()?;
            listen(fd)
        });
        let mut wake = Self {
            route: route.context("wait for events of links and routes")?,
            nftables: nftables.context("wait for events of the ruleset")?,
            records: listen(Watch::open()?).context("wait for inotify")?,
            events,
            run: run.to_owned(),
            conflist: conflist.to_owned(),
            own,
            ways: true,
        };
        wake.look();
        Ok(wake)
    }

    /// Waits for the next thing to happen.
    pub(crate) async fn next(&mut self, source: &mut Source) -> Result<Cause> {
        loop {
            tokio::select! {
                touched = source.touched() => {
                    touched?;
                    return Ok(Cause::Source);
                }
                touched = source::touched(&mut self.records) => {
                    touched?;
                    self.look();
                    return Ok(Cause::Files);
                }
                readable = readable(&self.route) => readable?,
                readable = readable(&self.nftables) => readable?,
            }
            let heard = self.events.drain(&self.own)?;
            self.ways |= heard.ways;
            if heard.news {
                return Ok(Cause::Kernel);
            }
        }
    }

    /// The agent has written this into the conflist: that it is there is no news.
    pub(crate) fn wrote(&mut self, conflist: &str) {
        self.records.get_mut().expect(conflist);
    }

    /// Whether anything has happened since this was last asked that may lead packets another way.
    pub(crate) fn ways_moved(&mut self) -> bool {
        std::mem::take(&mut self.ways)
    }

    /// Watches the records of all networks, and for new networks, and the conflist. A folder that comes while we
    /// look is seen: each is watched before we look into it. To be called again from time to time: what is not there
    /// cannot be watched, and what is watched already costs little.
    pub(crate) fn look(&mut self) {
        let records = self.records.get_mut();
        let mut watched = vec![records.folders(&self.run), records.file(&self.conflist)];
        let networks = std::fs::read_dir(&self.run).into_iter().flatten().flatten();
        for network in networks.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            watched.push(records.folders(&network.path()));
            watched.push(records.entries(&network.path().join("attachments")));
        }
        for error in watched.into_iter().filter_map(Result::err) {
            debug!("{error}");
        }
    }
}

/// A descriptor that can be waited for.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for the sake of types that close their descriptor early; AsFd says that ours do not"
)]
pub(crate) fn listen<T: AsFd + AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// The descriptor is marked as read before it is, so that what comes meanwhile is told again.
async fn readable(fd: &AsyncFd<OwnedFd>) -> Result<()> {
    let mut guard = fd.readable().await.context("wait for events")?;
    guard.clear_ready();
    Ok(())
}
