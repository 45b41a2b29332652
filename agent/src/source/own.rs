//! The agent's own facts: they are records like those of the kernel.

use std::collections::BTreeMap;

use seal::MAX_LINE;
use serde_json::{Value, json};

/// Room for what stands around the sample of a summary.
const LEFT: usize = 256;

/// A fact about the agent.
#[derive(Clone, Debug)]
pub enum Own {
    /// The agent began to collect. `hooks`: what runs where.
    Start {
        /// Version of the agent.
        version: &'static str,
        /// Release of the kernel (uname(2)).
        kernel: String,
        /// How programs read kernel memory.
        family: &'static str,
        /// Programs that are attached.
        hooks: Vec<&'static str>,
        /// Members of kernel structs that this kernel lacks.
        missing: Vec<String>,
        /// Whether the programs go on if the agent ends without a stop.
        pinned: bool,
        /// Why not, if that was wanted.
        unpinned: Option<String>,
        /// Why names of path-only calls are not taken from security hooks; `None` when they are.
        no_lsm: Option<String>,
    },
    /// The log goes on after the agent ended without a `stop`: killed, crashed, or the host lost power.
    Recovered {
        /// The last batch before.
        last_batch: u64,
        /// When that was sealed, RFC 3339.
        last_sealed: String,
        /// Seconds since then; events of that time were not collected.
        gap_seconds: u64,
        /// Bytes of a half-written batch that were cut.
        cut_bytes: u64,
    },
    /// The text of the policy, whose digest is in each header from here on.
    Policy {
        /// The text.
        text: String,
    },
    /// A program could not be attached.
    Degraded {
        /// The program.
        program: &'static str,
        /// Kinds of events that are missing for it.
        kinds: Vec<&'static str>,
        /// Why.
        why: String,
    },
    /// Programs of the kernel half were there before this run: they went on while no agent ran.
    Handover {
        /// `adopted`: they go on; `replaced`: others take over from a time on, and what they made until then is told;
        /// `abandoned`: what waited there could not be used.
        how: &'static str,
        /// Version of the agent that left them.
        from: String,
        /// What was loaded, as a hash.
        generation: String,
        /// Events that were made and not sealed, the lost ones counted.
        waiting: u64,
        /// Those of them that the agent before had taken out of the rings.
        journal: u64,
        /// Seconds since they were last read.
        unread_seconds: u64,
        /// Why they could not be used.
        why: Option<String>,
    },
    /// A part of the kernel half was gone or changed while the agent ran.
    Hook {
        /// The program, map or hook.
        hook: String,
        /// `restored`: it is as it should be again; `missing`: it could not be helped.
        state: &'static str,
        /// What was found.
        why: String,
    },
    /// A batch waits for a sink longer than it may, or does no more.
    Sink {
        /// The sink.
        name: String,
        /// When the batch was sealed, RFC 3339; `None`: none waits so long any more.
        since: Option<String>,
        /// What went wrong with the last send.
        why: Option<String>,
    },
    /// Events that were wanted and not had.
    Lost {
        /// Where: a hook, or `all`.
        hook: &'static str,
        /// `ring_full`: the agent was too slow; `killed`: taken out of the ring by an agent that was killed before it
        /// had kept them; `skipped`: the kernel left out a program that was running already;
        /// `undecodable`: the bytes made no event; `line`: the record made no line; `spool_full`: there was no room
        /// for it (`spool.when_full: drop_newest`).
        cause: &'static str,
        /// How many.
        count: u64,
    },
    /// The wall clock moved against the time since boot.
    ClockStep {
        /// By how much, in nanoseconds.
        nanoseconds: i64,
    },
    /// Events of a process that were counted in place of told one by one.
    Summary {
        /// Their kind.
        of: &'static str,
        /// How many.
        count: u64,
        /// When the first happened, RFC 3339.
        first: String,
        /// When the last happened, RFC 3339.
        last: String,
        /// The first of them as its whole record.
        sample: Vec<u8>,
    },
    /// A capture, or what was in the way of one.
    Capture(Box<Capture>),
    /// A record that was held back, as it would have been written at once.
    Record {
        /// Its line.
        line: Vec<u8>,
    },
    /// The agent ends.
    Stop {
        /// Why, as the name of a signal or in words.
        why: &'static str,
        /// Whether the programs go on.
        pinned: bool,
    },
}

/// See [`Own::Capture`].
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// `begun`; `done`: the manifest of this digest is whole; `failed`; `refused`; `left_out`: a rule asked too often, or
    /// while another capture ran.
    pub result: &'static str,
    /// `command`, `rule` or `signal`.
    pub by: &'static str,
    /// Whose processes and events.
    pub target: String,
    /// How much of each process.
    pub with: Vec<&'static str>,
    /// The rule.
    pub rule: Option<String>,
    /// User and process that asked, as the kernel says.
    pub asker: Option<(u32, u32)>,
    /// The program of that process; another may have taken its place since.
    pub exe: Option<String>,
    /// Why not.
    pub why: Option<String>,
    /// Of one that is done.
    pub made: Option<Made>,
}

/// What a capture made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// SHA-256 of the manifest, in hexadecimal.
    pub manifest: String,
    /// Members that it names, and their bytes.
    pub members: (u64, u64),
    /// Events among them.
    pub events: u64,
    /// What was left out.
    pub left_out: u64,
    /// Where the bundle is kept; `None`: who asked for it got it.
    pub bundle: Option<String>,
}

impl Capture {
    fn fields(&self, fields: &mut BTreeMap<&str, Value>) {
        fields.insert("result", json!(self.result));
        fields.insert("by", json!(self.by));
        fields.insert("target", json!(self.target));
        fields.insert("with", json!(self.with));
        if let Some((uid, pid)) = self.asker {
            fields.insert("asker_uid", json!(uid));
            fields.insert("asker_pid", json!(pid));
        }
        let bundle = self.made.as_ref().and_then(|made| made.bundle.as_ref());
        let texts = [("rule", &self.rule), ("asker_exe", &self.exe), ("why", &self.why)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
        fields.extend(texts.chain(bundle.map(|path| ("bundle", path))).map(|(name, text)| (name, json!(text))));
        if let Some(made) = &self.made {
            fields.insert("manifest", json!(made.manifest));
            fields.insert("members", json!(made.members.0.to_string()));
            fields.insert("bytes", json!(made.members.1.to_string()));
            fields.insert("events", json!(made.events.to_string()));
            fields.insert("left_out", json!(made.left_out.to_string()));
        }
    }
}

impl Own {
    /// The kind, as records name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start { .. } => "agent.start",
            Self::Recovered { .. } => "agent.recovered",
            Self::Policy { .. } => "agent.policy",
            Self::Degraded { .. } => "agent.degraded",
            Self::Handover { .. } => "agent.handover",
            Self::Hook { .. } => "agent.hook",
            Self::Sink { .. } => "agent.sink",
            Self::Lost { .. } => "agent.lost",
            Self::ClockStep { .. } => "agent.clock_step",
            Self::Summary { .. } => "summary",
            Self::Capture(_) => "agent.capture",
            Self::Record { .. } => "record",
            Self::Stop { .. } => "agent.stop",
        }
    }

    /// The record as one line of canonical JSON, without a line feed.
    pub fn line(&self, time: &str) -> String {
        match self {
            // both hold a record, which is canonical already
            Self::Record { line } => return String::from_utf8_lossy(line).into_owned(),
            Self::Summary { of, count, first, last, sample } => {
                let sample = String::from_utf8_lossy(sample);
                let head = format!(r#"{{"count":"{count}","kind":"summary","last":"{last}","of":"{of}""#);
                // a record of the longest size leaves no room around it
                let sample = if sample.len() + LEFT > MAX_LINE { "null" } else { &sample };
                return format!(r#"{head},"sample":{sample},"time":"{first}"}}"#);
            }
            _ => {}
        }
        let mut fields: BTreeMap<&str, Value> = BTreeMap::new();
        fields.insert("kind", json!(self.kind()));
        fields.insert("time", json!(time));
        match self {
            Self::Start { version, kernel, family, hooks, missing, pinned, unpinned, no_lsm } => {
                fields.insert("version", json!(version));
                fields.insert("kernel", json!(kernel));
                fields.insert("family", json!(family));
                fields.insert("hooks", json!(hooks));
                fields.insert("missing", json!(missing));
                fields.insert("pinned", json!(pinned));
                if let Some(why) = unpinned {
                    fields.insert("unpinned", json!(why));
                }
                if let Some(why) = no_lsm {
                    fields.insert("no_lsm", json!(why));
                }
            }
            Self::Recovered { last_batch, last_sealed, gap_seconds, cut_bytes } => {
                fields.insert("last_batch", json!(last_batch.to_string()));
                fields.insert("last_sealed", json!(last_sealed));
                fields.insert("gap_seconds", json!(gap_seconds));
                fields.insert("cut_bytes", json!(cut_bytes));
            }
            Self::Policy { text } => {
                fields.insert("text", json!(text));
            }
            Self::Degraded { program, kinds, why } => {
                fields.insert("program", json!(program));
                fields.insert("kinds", json!(kinds));
                fields.insert("why", json!(why));
            }
            Self::Handover { how, from, generation, waiting, journal, unread_seconds, why } => {
                fields.insert("how", json!(how));
                fields.insert("from", json!(from));
                fields.insert("generation", json!(generation));
                fields.insert("waiting", json!(waiting.to_string()));
                fields.insert("journal", json!(journal.to_string()));
                fields.insert("unread_seconds", json!(unread_seconds));
                if let Some(why) = why {
                    fields.insert("why", json!(why));
                }
            }
            Self::Hook { hook, state, why } => {
                fields.insert("hook", json!(hook));
                fields.insert("state", json!(state));
                fields.insert("why", json!(why));
            }
            Self::Sink { name, since, why } => {
                fields.insert("sink", json!(name));
                fields.insert("state", json!(if since.is_some() { "late" } else { "in_time" }));
                if let Some(since) = since {
                    fields.insert("since", json!(since));
                }
                if let Some(why) = why {
                    fields.insert("why", json!(why));
                }
            }
            Self::Lost { hook, cause, count } => {
                fields.insert("hook", json!(hook));
                fields.insert("cause", json!(cause));
                fields.insert("count", json!(count.to_string()));
            }
            Self::ClockStep { nanoseconds } => {
                fields.insert("nanoseconds", json!(nanoseconds.to_string()));
            }
            Self::Stop { why, pinned } => {
                fields.insert("why", json!(why));
                fields.insert("pinned", json!(pinned));
            }
            Self::Capture(capture) => capture.fields(&mut fields),
            Self::Summary { .. } | Self::Record { .. } => {}
        }
        json!(fields).to_string()
    }
}
