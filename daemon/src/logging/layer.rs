//! The `tracing` layer that makes lines of events.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI8, AtomicU32, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::feed::{Feed, Feeds, Filter};
use super::line::{Group, Level, Line};
use super::output::Outputs;
use super::{Levels, LogSettings};

/// Name of the span that says which IKE_SA events are about.
const IKE_SA: &str = "ike_sa";

/// Everything that gets lines. A clone is the same logger.
#[derive(Clone, Default)]
pub(crate) struct Logger {
    shared: Arc<Shared>,
}

struct Shared {
    outputs: ArcSwap<Outputs>,
    feeds: Feeds,
    /// For each group the highest level that anything wants, so that the rest costs next to nothing.
    ceilings: [AtomicI8; Group::COUNT],
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            outputs: ArcSwap::default(),
            feeds: Feeds::default(),
            ceilings: std::array::from_fn(|_| AtomicI8::new(Level::SILENT.number())),
        }
    }
}

impl Logger {
    /// Opens what the settings name and writes there from now on, where it is all open. Files are opened anew
    /// even if they stay the same, as log rotation wants it. Where one cannot be opened, nothing changes.
    pub(crate) fn configure(&self, settings: &LogSettings) -> io::Result<()> {
        let outputs = Outputs::open(settings)?;
        outputs.start()?;
        self.use_outputs(outputs);
        Ok(())
    }

    /// The same for a daemon with one thread, whose privileges are still to be dropped: nothing is written before
    /// [`Self::start`].
    pub(crate) fn open(&self, settings: &LogSettings) -> io::Result<()> {
        self.use_outputs(Outputs::open(settings)?);
        Ok(())
    }

    /// Writes what was logged since [`Self::open`], and what will be.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.shared.outputs.load().start()
    }

    fn use_outputs(&self, outputs: Outputs) {
        let outputs = Arc::new(outputs);
        self.shared.outputs.store(Arc::clone(&outputs));
        self.shared.adjust();
        if let Some(error) = outputs.no_journal() {
            tracing::warn!(target: "dmn", "{error}; logging to standard error instead");
        }
    }

    /// A queue of the lines that pass a filter, up to a level.
    pub(crate) fn feed(&self, filter: Filter, highest: Level) -> Feed {
        let shared = Arc::downgrade(&self.shared);
        let closed = move || {
            if let Some(shared) = shared.upgrade() {
                shared.adjust();
            }
        };
        let feed = self.shared.feeds.open(filter, highest, closed);
        self.shared.adjust();
        feed
    }

    /// Waits until files have what was logged so far.
    pub(crate) async fn flush(&self) {
        let outputs = self.shared.outputs.load_full();
        outputs.flush().await;
    }
}

impl Shared {
    /// Finds out anew what is wanted.
    fn adjust(&self) {
        let fed = self.feeds.prune();
        let outputs = self.outputs.load();
        for (group, ceiling) in Group::ALL.iter().zip(&self.ceilings) {
            let highest = outputs.highest(*group).max(fed);
            ceiling.store(highest.number(), Ordering::Relaxed);
        }
        tracing::callsite::rebuild_interest_cache();
    }

    fn wants(&self, group: Group, level: Level) -> bool {
        let ceiling = self.ceilings.get(group.index()).map(|ceiling| ceiling.load(Ordering::Relaxed));
        ceiling.is_some_and(|ceiling| level.number() <= ceiling)
    }

    fn deliver(&self, line: &Arc<Line>) {
        self.outputs.load().write(line);
        self.feeds.deliver(line);
    }
}

/// What an `ike_sa` span says.
#[derive(Default)]
struct IkeSa {
    connection: Option<String>,
    id: Option<u64>,
}

impl<S> Layer<S> for Logger
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        if metadata.is_span() {
            return metadata.name() == IKE_SA; // others say nothing that a line has
        }
        // Whether an event is for the audit is not known before it happens.
        let level =
            if metadata.fields().field("audit").is_some() { Level::AUDIT } else { level_of(metadata) };
        self.shared.wants(Group::of_target(metadata.target()), level)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let highest = self.shared.ceilings.iter().map(|ceiling| ceiling.load(Ordering::Relaxed)).max();
        Some(match highest.map(i64::from).map(Level::nearest) {
            Some(level) if level >= Level::RAW => LevelFilter::TRACE,
            Some(Level::DETAIL) => LevelFilter::DEBUG,
            // Spans have a level too, and must not be lost.
            Some(_) | None => LevelFilter::INFO,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|span| span.name() == IKE_SA) {
            let mut about = IkeSa::default();
            attributes.record(&mut about);
            span.extensions_mut().insert(about);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(about) = span.extensions_mut().get_mut::<IkeSa>()
        {
            values.record(about);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        let metadata = event.metadata();
        let mut line = Line {
            time: SystemTime::now(),
            group: Group::of_target(metadata.target()),
            level: if message.is_audit { Level::AUDIT } else { level_of(metadata) },
            thread: thread_number(),
            connection: None,
            ike_sa: None,
            text: message.text(),
        };
        if !self.shared.wants(line.group, line.level) {
            return; // `audit` was there, and false
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(about) = span.extensions().get::<IkeSa>() {
                line.connection.clone_from(&about.connection);
                line.ike_sa = about.id;
                break;
            }
        }
        self.shared.deliver(&Arc::new(line));
    }
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR | tracing::Level::WARN | tracing::Level::INFO => Level::CONTROL,
        tracing::Level::DEBUG => Level::DETAIL,
        tracing::Level::TRACE => Level::RAW,
    }
}

fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

impl Visit for IkeSa {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "id" {
            self.id = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "conn" {
            self.connection = Some(printable(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Values given by `%`, for their `Display`, arrive here.
        match field.name() {
            "conn" => self.connection = Some(printable(&format!("{value:?}"))),
            "id" => self.id = format!("{value:?}").parse().ok(),
            _other_fields_are_not_shown => {}
        }
    }
}

/// Collects an event: its message, and its other fields behind it.
#[derive(Default)]
struct Message {
    message: String,
    fields: String,
    is_audit: bool,
}

impl Message {
    fn text(self) -> String {
        printable(&(self.message + &self.fields))
    }
}

impl Visit for Message {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "audit" {
            self.is_audit = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The text with nothing in it that would move a terminal's cursor; line breaks stay.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

impl Outputs {
    fn highest(&self, group: Group) -> Level {
        self.levels().map(|levels: &Levels| levels.of(group)).max().unwrap_or(Level::SILENT)
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn with_feed(highest: Level, events: impl FnOnce()) -> Vec<Arc<Line>> {
        let logger = Logger::default();
        let subscriber = tracing_subscriber::registry().with(logger.clone());
        tracing::subscriber::with_default(subscriber, || {
            let mut feed = logger.feed(Filter::Everything, highest);
            events();
            std::iter::from_fn(|| feed.take()).collect()
        })
    }

    #[test]
    fn levels_and_groups_map_to_charons() {
        let lines = with_feed(Level::RAW, || {
            tracing::info!(target: "ike", audit = true, "up");
            tracing::info!(target: "ike", audit = false, "not for the audit");
            tracing::warn!(target: "net", "odd");
            tracing::debug!(target: "cfg", "why");
            tracing::trace!(target: "enc", "what");
        });
        let seen: Vec<_> =
            lines.iter().map(|l| (l.group.name(), l.level.number(), l.text.as_str())).collect();
        let expected = [
            ("IKE", 0, "up"),
            ("IKE", 1, "not for the audit"),
            ("NET", 1, "odd"),
            ("CFG", 2, "why"),
            ("ENC", 3, "what"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn nothing_above_the_wanted_level_arrives() {
        let lines = with_feed(Level::CONTROL, || {
            tracing::debug!(target: "ike", "detail");
            tracing::info!(target: "ike", "flow");
        });
        assert_eq!(lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["flow"]);
    }

    #[test]
    fn lines_name_the_nearest_ike_sa_even_if_its_connection_is_known_late() {
        let lines = with_feed(Level::CONTROL, || {
            let span = tracing::info_span!(target: "ike", "ike_sa", conn = tracing::field::Empty, id = 7_u64);
            let _inside = span.enter();
            tracing::info!(target: "ike", "before");
            span.record("conn", "gw");
            let _deeper = tracing::info_span!("exchange").entered();
            tracing::info!(target: "ike", "after");
        });
        let seen: Vec<_> = lines.iter().map(|l| (l.connection_name(), l.ike_sa)).collect();
        assert_eq!(seen, [(Some("(unnamed)"), Some(7)), (Some("gw"), Some(7))]);
    }

    #[test]
    fn other_fields_follow_the_message_and_control_characters_do_not_pass() {
        let lines = with_feed(Level::CONTROL, || {
            tracing::info!(target: "ike", spi = 5, peer = "a\x1b[31mb", "said\nmore");
        });
        assert_eq!(lines[0].text, "said\nmore spi=5 peer=a?[31mb");
    }
}
