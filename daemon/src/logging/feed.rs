//! Log lines for VICI clients: bounded queues that are never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::line::{Level, Line};

/// Lines that may wait in one feed. What comes while it is full is lost to that feed.
const CAPACITY: usize = 1024;

/// Which lines a feed gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// All.
    Everything,
    /// Those about IKE_SAs of the connection of this name.
    Connection(String),
    /// Those about this IKE_SA.
    IkeSa(u64),
}

impl Filter {
    fn passes(&self, line: &Line) -> bool {
        match self {
            Self::Everything => true,
            Self::Connection(name) => line.connection.as_ref() == Some(name),
            Self::IkeSa(id) => line.ike_sa == Some(*id),
        }
    }
}

/// A queue of log lines; ends when it is dropped.
pub(crate) struct Feed {
    lines: mpsc::Receiver<Arc<Line>>,
    entry: Arc<Entry>,
    /// Called when the feed is closed, so that nothing is logged for it any more.
    closed: Box<dyn Fn() + Send + Sync>,
}

impl Feed {
    /// The next line; waits for one.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Arc<Line>> {
        self.lines.recv().await
    }

    /// The next line that is there already.
    pub(crate) fn take(&mut self) -> Option<Arc<Line>> {
        self.lines.try_recv().ok()
    }

    /// How many lines were lost since this was last asked.
    pub(crate) fn lost(&self) -> u64 {
        self.entry.lost.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.lines.close();
        (self.closed)();
    }
}

/// All feeds there are.
#[derive(Default)]
pub(super) struct Feeds {
    entries: Mutex<Vec<Arc<Entry>>>,
}

struct Entry {
    filter: Filter,
    highest: Level,
    queue: mpsc::Sender<Arc<Line>>,
    lost: AtomicU64,
}

impl Feeds {
    /// A new feed of what passes the filter up to a level; `closed` is called when it is dropped.
    pub(super) fn open(
        &self,
        filter: Filter,
        highest: Level,
        closed: impl Fn() + Send + Sync + 'static,
    ) -> Feed {
        let (queue, lines) = mpsc::channel(CAPACITY);
        let entry = Arc::new(Entry { filter, highest, queue, lost: AtomicU64::new(0) });
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Arc::clone(&entry));
        Feed { lines, entry, closed: Box::new(closed) }
    }

    /// Forgets feeds that were dropped; the highest level that the others want.
    pub(super) fn prune(&self) -> Level {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| !entry.queue.is_closed());
        entries.iter().map(|entry| entry.highest).max().unwrap_or(Level::SILENT)
    }

    /// Gives a line to all who want it.
    pub(super) fn deliver(&self, line: &Arc<Line>) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.iter().filter(|entry| line.level <= entry.highest && entry.filter.passes(line)) {
            if entry.queue.try_send(Arc::clone(line)).is_err() {
                entry.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::logging::Group;

    fn line(connection: Option<&str>, ike_sa: Option<u64>, level: Level) -> Arc<Line> {
        Arc::new(Line {
            time: SystemTime::UNIX_EPOCH,
            group: Group::Ike,
            level,
            thread: 1,
            connection: connection.map(str::to_owned),
            ike_sa,
            text: "said".to_owned(),
        })
    }

    #[test]
    fn a_feed_gets_what_passes_its_filter_and_level() {
        let feeds = Feeds::default();
        let mut all = feeds.open(Filter::Everything, Level::CONTROL, || ());
        let mut gw = feeds.open(Filter::Connection("gw".to_owned()), Level::DETAIL, || ());
        let mut third = feeds.open(Filter::IkeSa(3), Level::CONTROL, || ());
        feeds.deliver(&line(Some("gw"), Some(3), Level::CONTROL));
        feeds.deliver(&line(Some("gw"), Some(4), Level::DETAIL));
        feeds.deliver(&line(None, None, Level::AUDIT));
        let count = |feed: &mut Feed| std::iter::from_fn(|| feed.take()).count();
        assert_eq!((count(&mut all), count(&mut gw), count(&mut third)), (2, 2, 1));
    }

    #[test]
    fn a_full_feed_loses_lines_and_counts_them() {
        let feeds = Feeds::default();
        let feed = feeds.open(Filter::Everything, Level::CONTROL, || ());
        for _ in 0..CAPACITY + 5 {
            feeds.deliver(&line(None, None, Level::CONTROL));
        }
        assert_eq!(feed.lost(), 5);
        assert_eq!(feed.lost(), 0);
    }

    #[test]
    fn dropped_feeds_want_nothing() {
        let feeds = Feeds::default();
        let feed = feeds.open(Filter::Everything, Level::RAW, || ());
        assert_eq!(feeds.prune(), Level::RAW);
        drop(feed);
        assert_eq!(feeds.prune(), Level::SILENT);
    }
}
