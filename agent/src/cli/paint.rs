//! Colours, where they are wanted: on a terminal, and not with `NO_COLOR` (no-color.org).

use std::{fmt, io::IsTerminal as _};

/// Colours of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

/// ANSI colours that read well on dark and light.
#[derive(Clone, Copy, Debug)]
pub enum Colour {
    /// Failures.
    Red = 31,
    /// What is well.
    Green = 32,
    /// What deserves a look.
    Yellow = 33,
    /// Processes.
    Blue = 34,
    /// Network.
    Magenta = 35,
    /// Files.
    Cyan = 36,
    /// What is there but not important.
    Grey = 90,
}

impl Paint {
    /// For standard output.
    pub fn stdout() -> Self {
        let no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!no && std::io::stdout().is_terminal())
    }

    /// A text in a colour.
    pub fn text<T: fmt::Display>(self, colour: Colour, text: T) -> Painted<T> {
        Painted { on: self.0, colour, text }
    }
}

/// A text in a colour.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    on: bool,
    colour: Colour,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.on { write!(f, "\x1b[{}m{}\x1b[0m", self.colour as u8, self.text) } else { self.text.fmt(f) }
    }
}
