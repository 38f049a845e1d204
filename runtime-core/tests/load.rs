//! Many containers and many calls: nothing is left, and each costs as much as the first.
//!
//! Seconds by default. An hour of it:
//!
//! ```text
//! LOAD_ALIVE=1000 LOAD_CREATES=10000 LOAD_EXECS=100000 LOAD_STEPS=100000 LOAD_SVG=load.svg \
//!     cargo test --release -p runtime-core --test load -- --nocapture --test-threads=1
//! ```
//!
//! `LOAD_SVG` is where the times of creates and execs are drawn, `LOAD_SEED` the seed of the random calls.

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime_core::cgroup::resources::Resources;
use runtime_core::{Deadline, ErrorKind, Result, Signal, Status};
use support::leftovers::descendants;
use support::scene::{self, Scene};
use support::views::{self, in_views};

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The descriptors and threads of this process, and the processes below it: what the library leaks shows there.
fn held() -> [usize; 3] {
    let count = |path: &str| std::fs::read_dir(path).expect("procfs").count();
    [count("/proc/self/fd"), count("/proc/self/task"), descendants().len()]
}

/// Fails if this process holds more than `before`. The end of a thread takes a moment.
fn assert_held(before: [usize; 3]) {
    let more = || held().iter().zip(&before).any(|(now, before)| now > before);
    assert!(views::eventually(|| !more()), "descriptors, threads, processes: {before:?}, then {:?}", held());
}

/// A container that comes and goes: what the library opens once is open then.
fn once(scene: &Scene) {
    let container = scene.started(&["sleep", "600"]);
    container.pause().expect("paused");
    container.resume().expect("resumed");
    scene::exit(&scene::exec(&container, &["true"]).expect("an exec"));
    scene::end(container);
}

/// Does `work` so many times, `at_once` in parallel, and returns how long each took, in order of their ends.
fn times(count: usize, at_once: usize, work: impl Fn(usize) + Sync) -> Vec<Duration> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let begin = Instant::now();
                    work(number);
                    times.lock().expect("no panic").push(begin.elapsed());
                }
            });
        }
    });
    times.into_inner().expect("no panic")
}

/// The median of each of up to 50 parts, in milliseconds.
fn curve(times: &[Duration]) -> Vec<f64> {
    let median = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort();
        part[part.len() / 2].as_secs_f64() * 1000.0
    };
    times.chunks(times.len().div_ceil(50).max(1)).map(median).collect()
}

/// Prints a curve, and draws it where LOAD_SVG says.
fn show(name: &str, times: &[Duration]) {
    let points = curve(times);
    println!(
        "{name}: {} calls, first {:.2} ms, last {:.2} ms (medians)",
        times.len(),
        points[0],
        points[points.len() - 1]
    );
    let Some(path) = std::env::var_os("LOAD_SVG") else { return };
    let most = points.iter().copied().fold(0.1, f64::max);
    let place = |(at, value): (usize, &f64)| {
        format!("{:.1},{:.1}", 40.0 + at as f64 * 560.0 / points.len() as f64, 180.0 - value / most * 160.0)
    };
    let line: Vec<String> = points.iter().enumerate().map(place).collect();
    let drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"620\" height=\"200\" font-family=\"sans-serif\" font-size=\"11\">\
         <text x=\"40\" y=\"14\">{name}: {} calls, medians in ms, 0 to {most:.1}</text>\
         <polyline fill=\"none\" stroke=\"black\" points=\"40,20 40,180 600,180\"/>\
         <polyline fill=\"none\" stroke=\"blue\" points=\"{}\"/></svg>\n",
        times.len(),
        line.join(" ")
    );
    let path = std::path::PathBuf::from(path);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::write(path.with_file_name(format!("{stem}-{name}.svg")), drawing)
        .expect("the drawing is written");
}

in_views!(creates: v2);
fn creates() {
    let scene = Scene::new();
    let config = scene.config(&["sleep", "600"]);
    let cycle = |_: usize| {
        let container = scene.create(&scene.id(), &config).expect("created");
        container.start().expect("started");
        let id = container.id().to_string();
        scene::end(container);
        std::fs::remove_dir_all(scene.path().join(format!("bundle-{id}"))).expect("a bundle");
    };
    once(&scene);
    let before = held();
    show("creates", &times(number("LOAD_CREATES", 60), 20, cycle));
    assert_held(before);
    scene.assert_clean("creates");
}

in_views!(execs: v2);
fn execs() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "86400"]);
    let exec = |_: usize| {
        let process = scene::exec(&container, &["true"]).expect("an exec");
        assert!(process.wait().expect("a wait").success());
    };
    exec(0);
    let before = held();
    show("execs", &times(number("LOAD_EXECS", 300), 20, exec));
    assert_held(before);
    assert_eq!(container.processes().expect("a list").len(), 1);
    scene::end(container);
    scene.assert_clean("execs");
}

in_views!(alive: v2);
fn alive() {
    let scene = Scene::new();
    let config = scene.config(&["sleep", "86400"]);
    once(&scene);
    let before = held();
    let containers = Mutex::new(Vec::new());
    let begin = times(number("LOAD_ALIVE", 40), 50, |_| {
        let container = scene.create(&scene.id(), &config).expect("created");
        container.start().expect("started");
        containers.lock().expect("no panic").push(container);
    });
    show("alive", &begin);
    assert_eq!(scene.runtime.list().expect("a list").len(), begin.len());
    let containers = Mutex::new(containers.into_inner().expect("no panic"));
    times(begin.len(), 50, |_| {
        let container = containers.lock().expect("no panic").pop().expect("a container");
        assert_eq!(container.status().expect("a status"), Status::Running);
        scene::end(container);
    });
    assert_held(before);
    scene.assert_clean("all of them");
}

/// A call on one container.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Start,
    Exec,
    Kill,
    Pause,
    Resume,
    Update,
    Delete,
    Force,
}

const STEPS: [Step; 9] = [
    Step::Create,
    Step::Start,
    Step::Exec,
    Step::Kill,
    Step::Pause,
    Step::Resume,
    Step::Update,
    Step::Delete,
    Step::Force,
];

impl Step {
    fn call(self, scene: &Scene, id: &str) -> Result<()> {
        let container = || scene.runtime.container(id);
        match self {
            Step::Create => {
                let bundle = scene.path().join(format!("bundle-{id}"));
                scene.runtime.create(scene::plan(&scene.runtime, id, &bundle)?).map(drop)
            }
            Step::Start => container()?.start(),
            // Its program may have been killed before it ends by itself.
            Step::Exec => scene::exec(&container()?, &["true"]).and_then(|process| process.wait()).map(drop),
            Step::Kill => container()?.kill(Signal::KILL),
            Step::Pause => container()?.pause(),
            Step::Resume => container()?.resume(),
            Step::Update => container()?.update(&Resources::default()),
            Step::Delete => container()?.delete(),
            Step::Force => scene.runtime.delete_force(id),
        }
    }

    /// What comes of it alone, on a container that has this status: the new status, or the kind of its error.
    fn expected(self, status: Option<Status>) -> std::result::Result<Option<Status>, ErrorKind> {
        use Status::{Created, Paused, Running, Stopped};
        match (self, status) {
            (Step::Create, None) => Ok(Some(Created)),
            (Step::Create, Some(_)) => Err(ErrorKind::AlreadyExists),
            (_, None) => Err(ErrorKind::NotFound),
            (Step::Force, Some(_)) | (Step::Delete, Some(Created | Stopped)) => Ok(None),
            (Step::Delete, Some(_)) => Err(ErrorKind::WrongState),
            (Step::Start, Some(Created)) => Ok(Some(Running)),
            (Step::Start, Some(_)) => Err(ErrorKind::WrongState),
            (Step::Kill, Some(Created | Running | Paused)) => Ok(Some(Stopped)),
            (Step::Pause, Some(Created | Running)) => Ok(Some(Paused)),
            (Step::Resume, Some(Paused)) => Ok(Some(Running)),
            (Step::Exec | Step::Update, Some(Created | Running)) => Ok(status),
            (Step::Update, Some(Paused)) => Ok(status),
            (Step::Kill | Step::Pause | Step::Resume | Step::Exec | Step::Update, Some(_)) => {
                Err(ErrorKind::WrongState)
            }
        }
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn step(&mut self) -> Step {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        STEPS[self.0 as usize % STEPS.len()]
    }
}

fn seed() -> u64 {
    let seed = number("LOAD_SEED", 1) as u64;
    println!("LOAD_SEED={seed}");
    seed << 1 | 1
}

in_views!(any_order: hybrid, v2);
/// Calls in any order, one after the other: the model knows what comes of each.
fn any_order() {
    let scene = Scene::new();
    let (id, mut random) = (scene.id(), Random(seed()));
    scene.bundle(&id, &scene.config(&["sleep", "600"]));
    let mut status = None;
    let mut done: Vec<(Step, Option<Status>)> = Vec::new();
    for _ in 0..number("LOAD_STEPS", 150) {
        let step = random.step();
        // A created container that is paused has two statuses at once, which this model does not tell apart.
        if status == Some(Status::Created) && matches!(step, Step::Pause) {
            continue;
        }
        done.push((step, status));
        let last = &done[done.len().saturating_sub(12)..];
        let found = step.call(&scene, &id).map_err(|error| (error.kind(), error.to_string()));
        let expected = step.expected(status);
        match (&expected, &found) {
            (Ok(next), Ok(())) => status = *next,
            (Err(kind), Err((seen, _))) if kind == seen => {}
            _ => panic!("{step:?} on {status:?}: {found:?} and not {expected:?} after {last:?}"),
        }
        let seen = scene.runtime.container(&id).and_then(|container| container.status()).ok();
        let settled = seen == status
            || views::eventually(|| {
                scene.runtime.container(&id).and_then(|container| container.status()).ok() == status
            });
        assert!(settled, "{seen:?} and not {status:?} after {last:?}");
    }
    scene.runtime.delete_force(&id).ok();
    scene.assert_clean("calls in any order");
}

in_views!(all_at_once: hybrid, v2);
/// Calls of several threads on one container: each is done, or says why not, and nothing is left of any.
fn all_at_once() {
    let scene = Scene::new();
    let (id, seed) = (scene.id(), seed());
    scene.bundle(&id, &scene.config(&["sleep", "600"]));
    once(&scene);
    let before = held();
    let count = number("LOAD_STEPS", 150) / 3;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (scene, id) = (&scene, &id);
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_mul(2 * thread + 3));
                for _ in 0..count {
                    let step = random.step();
                    let result = Deadline::after(Duration::from_secs(5)).run(|| step.call(scene, id));
                    if let Err(error) = result {
                        let text = error.to_string();
                        assert!(
                            error.kind() != ErrorKind::InvalidInput && !text.is_empty(),
                            "{step:?}: {text}"
                        );
                    }
                }
            });
        }
    });
    match scene.runtime.delete_force(&id) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("delete: {error}"),
        _ => {}
    }
    scene.assert_clean("calls at once");
    assert_held(before);
}
