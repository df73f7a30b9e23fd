//! verify
use anyhow::Context;
use ferry_interop::lab::{Lab, Lifetime};
use ferry_interop::peer::Daemon;
fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).context("name")?;
    let ours = if std::env::args().nth(2).as_deref() == Some("charon") { Daemon::Charon } else { Daemon::Ferryd };
    let ferryd = std::env::current_exe()?.with_file_name("ferryd");
    let t = std::time::Instant::now();
    for s in ferry_interop::scenarios::all().iter().filter(|s| name == "all" || s.name.starts_with(&name)) {
        let t = std::time::Instant::now();
        let lab = Lab::new("ferry-lab", std::path::Path::new("/tmp/lab-out").join(&s.name).as_path(), &ferryd, Lifetime::Scoped)?;
        match s.play(lab, ours) {
            Ok(()) => println!("ok {} {:?}", s.name, t.elapsed()),
            Err(error) => println!("FAILED {} {:?}\n{error:#}", s.name, t.elapsed()),
        }
    }
    Ok(())
}
