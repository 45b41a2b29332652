//! Writes the seeds of each target into a folder of its name below the given one, and prints the names.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| io::Error::other("usage: fuzz-seeds DIR"))?;
    for target in fuzz::TARGETS {
        let own = dir.join(target.name);
        fs::create_dir_all(&own)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(own.join(format!("seed-{number}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}
