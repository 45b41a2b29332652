//! `sigtrail top`: the running agent, live.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table},
};

use super::{ConfigFile, status::ask, trouble::Trouble};
use crate::{
    config,
    daemon::control::{AgentStatus, SOCKET},
};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// How often the agent is asked
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print one frame, as text, and end: also to a pipe
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let time =
        config::duration(text).filter(|time| (Duration::from_millis(100)..=Duration::from_mins(1)).contains(time));
    time.ok_or_else(|| format!("`{text}` is no interval; write a time from 100ms to 1m"))
}

/// The size of the one frame.
const ONCE: (u16, u16) = (110, 36);

/// How many rates are remembered.
const HISTORY: usize = 400;

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let path = args.config.load()?.runtime_dir.join(SOCKET);
    let mut screen = Screen::new(path)?;
    if args.once {
        thread::sleep(args.interval);
        screen.ask()?;
        return once(&screen);
    }
    if !io::stdout().is_terminal() {
        return Err(Trouble::Usage("standard output is no terminal: --once prints one frame as text".to_owned()));
    }
    let mut terminal = ratatui::try_init().map_err(Trouble::Output)?;
    let done = live(&mut terminal, &mut screen, args.interval);
    ratatui::try_restore().map_err(Trouble::Output)?;
    done
}

fn live(terminal: &mut ratatui::DefaultTerminal, screen: &mut Screen, interval: Duration) -> Result<(), Trouble> {
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(Trouble::Output)?;
        let next = screen.asked + interval;
        while let Some(left) = next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if !event::poll(left).map_err(Trouble::Output)? {
                break;
            }
            match event::read().map_err(Trouble::Output)? {
                Event::Key(key) if key.code == KeyCode::Char('q') || key.code == KeyCode::Esc => return Ok(()),
                Event::Key(key) if key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL => {
                    return Ok(());
                }
                Event::Resize(..) => terminal.draw(|frame| screen.draw(frame)).map(|_| ()).map_err(Trouble::Output)?,
                _ => {}
            }
        }
        screen.ask()?;
    }
}

fn once(screen: &Screen) -> Result<(), Trouble> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(ONCE.0, ONCE.1));
    let Ok(_) = terminal.draw(|frame| screen.draw(frame));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    io::stdout().write_all(text.as_bytes()).map_err(Trouble::Output)
}

/// What is on the screen: the last answer, and the one before, for rates.
struct Screen {
    path: PathBuf,
    now: AgentStatus,
    before: AgentStatus,
    asked: Instant,
    passed: Duration,
    rates: Vec<u64>,
}

impl Screen {
    fn new(path: PathBuf) -> Result<Self, Trouble> {
        let (_, now) = ask(&path)?;
        Ok(Self { path, before: now.clone(), now, asked: Instant::now(), passed: Duration::ZERO, rates: Vec::new() })
    }

    fn ask(&mut self) -> Result<(), Trouble> {
        let (_, now) = ask(&self.path)?;
        self.passed = self.asked.elapsed();
        self.asked = Instant::now();
        // another agent counts from zero
        let before = std::mem::replace(&mut self.now, now);
        self.before = if before.pid == self.now.pid { before } else { self.now.clone() };
        self.rates.push(self.rate(self.now.pipeline.total.received, self.before.pipeline.total.received));
        if self.rates.len() > HISTORY {
            self.rates.remove(0);
        }
        Ok(())
    }

    /// How many a second.
    fn rate(&self, now: u64, before: u64) -> u64 {
        let passed = self.passed.as_millis() as u64;
        now.saturating_sub(before).saturating_mul(1000).checked_div(passed).unwrap_or(0)
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let sinks = u16::try_from(self.now.sinks.len()).unwrap_or(u16::MAX).clamp(1, 8) + 3;
        let areas = Layout::vertical([
            Constraint::Length(4),
            Constraint::Length(5),
            Constraint::Min(6),
            Constraint::Length(sinks),
        ]);
        let [head, rates, middle, below] = areas.areas(frame.area());
        frame.render_widget(self.head(), head);
        let newest = self.rates.iter().rev().take(usize::from(rates.width.saturating_sub(2))).rev();
        let title = format!(
            " {} events/s, as many as {} ",
            self.rates.last().unwrap_or(&0),
            self.rates.iter().max().unwrap_or(&0)
        );
        let spark = Sparkline::default().block(block(&title)).style(Style::new().fg(Color::Blue)).data(newest.copied());
        frame.render_widget(spark, rates);
        let [left, right] = Layout::horizontal([Constraint::Length(38), Constraint::Min(30)]).spacing(2).areas(middle);
        self.kinds(frame, left);
        self.hooks(frame, right);
        self.sinks(frame, below);
    }

    fn head(&self) -> Paragraph<'_> {
        let AgentStatus { version, pid, pipeline, .. } = &self.now;
        let total = pipeline.total;
        let lost = Span::raw(format!("{} lost", total.lost));
        let lost = if total.lost == 0 { lost.green() } else { lost.red().bold() };
        let counts = format!("{} received  {} kept  {} merged  ", total.received, total.kept, total.merged);
        let number = pipeline.last_batch.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let down = pipeline.hooks.iter().filter(|hook| hook.degraded.is_some()).count();
        let hooks = format!("{} attached ({}), {down} degraded", pipeline.hooks.len() - down, pipeline.family);
        let sealed = pipeline.last_sealed.as_deref().unwrap_or("never");
        let trouble = pipeline.trouble.as_deref().unwrap_or_default();
        Paragraph::new(vec![
            Line::from(vec![
                Span::raw(format!("sigtrail {version}")).bold(),
                format!("  pid {pid}  log {}", harmless(&pipeline.origin)).into(),
            ]),
            Line::from(vec![format!("events  {counts}").into(), lost]),
            Line::from(format!("hooks   {hooks}  processes {}", pipeline.processes)),
            Line::from(vec![
                format!("sealed  batch {number} at {sealed}  spool {} KiB  ", pipeline.spool_bytes / 1024).into(),
                Span::raw(harmless(trouble)).red(),
            ]),
        ])
    }

    fn kinds(&self, frame: &mut Frame<'_>, area: Rect) {
        let count = |of: &AgentStatus, kind: &str| of.pipeline.kinds.get(kind).copied().unwrap_or(0);
        let kinds = &self.now.pipeline.kinds;
        let mut rows: Vec<_> =
            kinds.iter().map(|(kind, total)| (self.rate(*total, count(&self.before, kind)), *total, kind)).collect();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        let rows = rows
            .into_iter()
            .map(|(rate, total, kind)| Row::new([Cell::from(harmless(kind)), number(rate), number(total)]));
        let widths = [Constraint::Min(14), Constraint::Length(8), Constraint::Length(11)];
        frame.render_widget(table(rows, widths, ["kind", "      /s", "    records"], " records "), area);
    }

    fn hooks(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.now.pipeline.counts.iter().map(|counts| {
            let before = self.before.pipeline.counts.iter().find(|other| other.hook == counts.hook);
            let rate = |now: u64, of: fn(&crate::pipeline::HookCounts) -> u64| self.rate(now, before.map_or(now, of));
            let lost = Cell::from(Line::from(counts.lost.to_string()).right_aligned());
            Row::new([
                Cell::from(harmless(&counts.hook)),
                number(rate(counts.seen, |counts| counts.seen)),
                number(rate(counts.filtered, |counts| counts.filtered)),
                number(rate(counts.sent, |counts| counts.sent)),
                if counts.lost > 0 { lost.style(Style::new().fg(Color::Red)) } else { lost },
            ])
        });
        let wide = Constraint::Length(9);
        let widths = [Constraint::Min(20), wide, wide, wide, wide];
        let heads = ["hook", "   seen/s", "  unasked", "   sent/s", "     lost"];
        frame.render_widget(table(rows, widths, heads, " kernel "), area);
    }

    fn sinks(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.now.sinks.iter().map(|sink| {
            let before = self.before.sinks.iter().find(|other| other.name == sink.name);
            let late = sink.lag > 0 || sink.trouble.is_some();
            let row = Row::new([
                Cell::from(harmless(&sink.name)),
                number(sink.delivered.map_or(0, |last| last + 1)),
                number(sink.lag),
                number(self.rate(sink.bytes, before.map_or(sink.bytes, |before| before.bytes)) / 1024),
                number(sink.retries),
                number(sink.missed),
                Cell::from(harmless(sink.trouble.as_deref().unwrap_or_default())).style(Style::new().fg(Color::Red)),
            ]);
            if late { row.style(Style::new().fg(Color::Yellow)) } else { row }
        });
        let wide = Constraint::Length(9);
        let widths = [Constraint::Length(16), wide, wide, wide, wide, wide, Constraint::Min(20)];
        let heads = ["sink", "  batches", "   behind", "    KiB/s", "  retries", "   missed", "trouble"];
        frame.render_widget(table(rows, widths, heads, " sinks "), area);
    }
}

fn block(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(Style::new().fg(Color::DarkGray)).title(title)
}

fn number(number: u64) -> Cell<'static> {
    Cell::from(Line::from(number.to_string()).right_aligned())
}

fn table<'a, const N: usize>(
    rows: impl Iterator<Item = Row<'a>>,
    widths: [Constraint; N],
    heads: [&'static str; N],
    title: &'a str,
) -> Table<'a> {
    Table::new(rows, widths).header(Row::new(heads).style(Style::new().fg(Color::DarkGray))).block(block(title))
}

/// What a terminal would obey is a blank.
fn harmless(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
