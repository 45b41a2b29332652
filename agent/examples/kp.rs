//! scratch
use sigtrail::{
    record::{Context, Judgement, Record, json},
    source::{Kernel, Options, kernel::with_processes},
};
fn main() {
    let t = std::time::Instant::now();
    let mut w = [0u8; 32];
    for k in common::Kind::ALL {
        w[*k as usize] = 15;
    }
    let mut k = Kernel::open(&Options { ring_bytes: 8 << 20, wake_bytes: 1 << 20, wanted: with_processes(w) })
        .unwrap_or_else(|e| panic!("{e} {e:?}"));
    eprintln!("open {:?} {:?} missing {:?}", t.elapsed(), k.family(), k.missing());
    for a in k.attached() {
        eprintln!("{} {:?}", a.program.name, a.failed);
    }
    let secs: u64 = std::env::args().nth(1).map_or(5, |s| s.parse().unwrap());
    let t = std::time::Instant::now();
    let mut out = Vec::new();
    while t.elapsed().as_secs() < secs {
        k.drain(10000, |b| {
            out.clear();
            match common::Event::decode(b) {
                Ok(e) => {
                    json::line(&Record { event: e, context: Context::default() }, Judgement::default(), "T", &mut out);
                    println!("{}", String::from_utf8_lossy(&out));
                }
                Err(e) => eprintln!("{e}"),
            }
        });
        k.wait(std::time::Duration::from_millis(50)).unwrap();
    }
    for (h, c) in k.counts().unwrap() {
        eprintln!("{h:?} {c:?}");
    }
    eprintln!("skipped {}", k.skipped());
}
