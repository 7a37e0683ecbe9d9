//! Follows the API server's Nodes, for ever.
//!
//! List, then watch from where the list ended; a watch that ends is resumed where it was, one that is too old (410 Gone) begins
//! anew with a list. The list is a stream that begins a watch (KEP-3157), so that no page of whole objects has to be held; a
//! server without it is asked for pages. Whatever fails is told, waited for, and tried again with a new client. What was
//! known stays meanwhile, and nothing here depends on the wall clock.

use super::access::{Access, chain, failure};
use super::known::{Known, Nodes, Trouble};
use super::object::{Object, Page};
use super::retry::Retry;
use futures_util::{Stream, StreamExt as _};
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, Status, WatchEvent};
use kube::{Client, Error};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::debug;

pub(super) const NODES: &str = "/api/v1/nodes";

/// How long one watch lasts, in seconds: a connection that died in silence is noticed when it is over.
const WATCH: u32 = 60;

/// How much later than asked for the server may end a watch.
const WATCH_GRACE: Duration = Duration::from_secs(5);

/// Least time between two watches, if the server ends them at once, and between two lists.
const REST: Duration = Duration::from_secs(1);

/// How long the server may take for an answer, and for the next piece of a list.
const ANSWER: Duration = Duration::from_secs(30);

/// Nodes on a page; with their images these are some megabytes.
const PAGE: u32 = 100;

/// Marks the bookmark behind the last object of a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// Why something was not done.
enum Broken {
    /// The server no longer knows that state of the cluster.
    Gone,
    /// The server does not understand what is asked for.
    Strange(String),
    /// It refuses.
    Refused(String),
    /// It does not answer.
    Failed(String),
}

/// Follows until the program ends.
pub(super) async fn follow(access: Access, known: Arc<Known>) {
    let mut follower = Follower {
        known,
        version: None,
        listed: None,
        in_pages: false,
        retry: Retry::default(),
    };
    loop {
        let trouble = match access.client().await {
            Ok(client) => follower.until_failed(&client).await,
            Err(error) => Trouble::Silent(error),
        };
        debug!("{}: {trouble:?}", access.server());
        // A server that begins to answer is new, and what it refuses while it starts it may soon allow.
        let is_progress = matches!(trouble, Trouble::Refusal(_)) && follower.known.is_silent();
        if is_progress {
            follower.retry.succeeded();
        }
        follower.known.failed(trouble);
        sleep(follower.retry.next()).await;
    }
}

struct Follower {
    known: Arc<Known>,
    /// The state of the cluster up to which everything is known; none before a list.
    version: Option<String>,
    /// When the last list was asked for.
    listed: Option<Instant>,
    /// The server has no streamed lists.
    in_pages: bool,
    retry: Retry,
}

impl Follower {
    /// Goes on from the last step until something fails, and says what.
    async fn until_failed(&mut self, client: &Client) -> Trouble {
        loop {
            if let (None, Some(listed)) = (&self.version, self.listed) {
                sleep_until(listed + REST).await;
            }
            let began = Instant::now();
            let (is_list, was_in_pages) = (self.version.is_none(), self.in_pages);
            let done = match (is_list, was_in_pages) {
                (false, _) => self.watch(client).await,
                (true, false) => self.stream(client).await,
                (true, true) => self.pages(client).await,
            };
            if is_list {
                self.listed = Some(began);
                self.in_pages = was_in_pages && done.is_ok();
            }
            match done {
                Ok(()) if is_list => {}
                Ok(()) => sleep_until(began + REST).await,
                Err(Broken::Gone) => {
                    self.known.gone();
                    self.version = None;
                }
                Err(Broken::Strange(_)) if is_list && !was_in_pages => self.in_pages = true,
                Err(Broken::Strange(why) | Broken::Refused(why)) => return Trouble::Refusal(why),
                Err(Broken::Failed(why)) => return Trouble::Silent(why),
            }
        }
    }

    /// The list as a stream.
    async fn stream(&mut self, client: &Client) -> Result<(), Broken> {
        let asked = WatchParams::streaming_lists();
        let mut events = pin!(self.events(client, &asked, "").await?);
        let mut nodes = self.known.empty();
        loop {
            // A server that is too old to know of streamed lists never says that this one is over.
            let event = timeout(ANSWER, events.next())
                .await
                .map_err(|_elapsed| Broken::Strange(silence(ANSWER)))?;
            match event {
                Some(Ok(WatchEvent::Added(node) | WatchEvent::Modified(node))) => {
                    nodes.put(&node);
                }
                Some(Ok(WatchEvent::Deleted(node))) => {
                    nodes.remove(&node);
                }
                Some(Ok(WatchEvent::Bookmark(mark))) => {
                    if mark.metadata.annotations.contains_key(LIST_ENDS) {
                        self.listed(nodes, mark.metadata.resource_version);
                        return Ok(());
                    }
                }
                Some(Ok(WatchEvent::Error(status))) => return Err(refused(&status)),
                Some(Err(error)) => return Err(broken(&error)),
                None => return Err(Broken::Failed("the list of nodes broke off".into())),
            }
        }
    }

    /// The list in pages.
    async fn pages(&mut self, client: &Client) -> Result<(), Broken> {
        let mut nodes = self.known.empty();
        let mut asked = ListParams::default().limit(PAGE);
        loop {
            let request = Request::new(NODES).list(&asked).map_err(unsound)?;
            let page = answer(client.request::<Page>(request)).await?;
            self.reached();
            for node in page.items.iter().flatten() {
                nodes.put(node);
            }
            match page.metadata.rest.filter(|rest| !rest.is_empty()) {
                Some(rest) => asked = asked.continue_token(&rest),
                None => {
                    self.listed(nodes, page.metadata.resource_version);
                    return Ok(());
                }
            }
        }
    }

    /// What happens after the state that is known, for a while.
    async fn watch(&mut self, client: &Client) -> Result<(), Broken> {
        let version = self.version.clone().unwrap_or_default();
        let asked = WatchParams {
            timeout: Some(WATCH),
            bookmarks: true,
            ..WatchParams::default()
        };
        let end = Instant::now() + Duration::from_secs(WATCH.into()) + WATCH_GRACE;
        let mut events = pin!(self.events(client, &asked, &version).await?);
        self.known.watching();
        loop {
            let Ok(event) = timeout_at(end, events.next()).await else {
                return Err(Broken::Failed(silence(Duration::from_secs(WATCH.into()))));
            };
            match event {
                Some(Ok(WatchEvent::Added(node) | WatchEvent::Modified(node))) => {
                    self.known.put(&node);
                    self.at(node.version());
                }
                Some(Ok(WatchEvent::Deleted(node))) => {
                    self.known.remove(&node);
                    self.at(node.version());
                }
                Some(Ok(WatchEvent::Bookmark(mark))) => {
                    self.known.heard();
                    self.at(Some(&mark.metadata.resource_version));
                }
                Some(Ok(WatchEvent::Error(status))) => return Err(refused(&status)),
                Some(Err(error)) => return Err(broken(&error)),
                None => return Ok(()),
            }
        }
    }

    async fn events(
        &mut self,
        client: &Client,
        asked: &WatchParams,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Object>, Error>> + use<>, Broken> {
        let request = Request::new(NODES).watch(asked, version).map_err(unsound)?;
        let events = answer(client.request_events::<Object>(request)).await?;
        self.reached();
        Ok(events)
    }

    fn listed(&mut self, nodes: Nodes, version: String) {
        self.known.listed(nodes);
        self.version = Some(version);
    }

    fn at(&mut self, version: Option<&str>) {
        if let Some(version) = version {
            self.version = Some(version.to_owned());
        }
    }

    fn reached(&mut self) {
        self.retry.succeeded();
        self.known.reached();
    }
}

async fn answer<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Broken> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(|error| broken(&error)),
        Err(_elapsed) => Err(Broken::Failed(silence(ANSWER))),
    }
}

fn silence(span: Duration) -> String {
    format!("no word from it in {} s", span.as_secs())
}

fn unsound(error: kube::core::request::Error) -> Broken {
    Broken::Failed(chain(&error))
}

fn broken(error: &Error) -> Broken {
    if let Error::Api(status) = error {
        refused(status)
    } else {
        Broken::Failed(failure(error))
    }
}

/// Numbers of HTTP that say what to do.
const GONE: u16 = 410;
const BAD_REQUEST: u16 = 400;
const UNPROCESSABLE: u16 = 422;

fn refused(status: &Status) -> Broken {
    match status.code {
        GONE => Broken::Gone,
        BAD_REQUEST | UNPROCESSABLE => Broken::Strange(status.message.clone()),
        code => Broken::Refused(format!("{code} {}", status.message)),
    }
}

#[cfg(test)]
mod tests;
