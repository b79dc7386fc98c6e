//! The sentences of the replay page, in English and in Chinese.

use std::collections::BTreeMap;
use std::panic::Location;
use std::time::Duration;

use super::chart::{Phase, cut, label, short};
use super::frames::{Deed, End, Frame, Waiting};
use super::record::Row;
use crate::kernel::edge::observe::{Actor, Outcome};
use crate::kernel::wait::WaitFor;

/// A text in each language: English and Chinese.
pub(super) type Both = [String; 2];

/// The task of a deed, if it is a deed of a certain kind.
type Pick = fn(&Deed) -> Option<u64>;

/// More names than so many are counted.
const MOST_NAMES: usize = 3;

/// The columns that a name has in a sentence, at most.
const WIDEST_NAME: usize = 32;

/// What the looks mean, in the order of [`LOOKS`](super::chart::LOOKS), in Chinese.
pub(super) fn meaning(kind: Phase) -> Both {
    let chinese = match kind {
        Phase::Running => "运行",
        Phase::Ready => "就绪，等待轮到自己",
        Phase::Io => "等待输入输出",
        Phase::Time => "等待时间",
        Phase::Task => "等待另一个任务",
        Phase::Named => "等待锁、队列、线程……",
        Phase::Waker => "等待被唤醒",
    };
    [kind.look().meaning.to_owned(), chinese.to_owned()]
}

/// The names of the tasks of a run.
pub(super) struct Names<'a>(pub(super) &'a BTreeMap<u64, Row>);

impl Names<'_> {
    fn of(&self, task: u64) -> Both {
        match self.0.get(&task) {
            Some(row) if row.name.is_some() => {
                let name = label(row);
                let name = cut(&name, WIDEST_NAME);
                let name = name.trim_end();
                [format!("“{name}”"), format!("“{name}”")]
            }
            Some(row) => {
                let site = label(row);
                [format!("task {task} ({site})"), format!("任务 {task}（{site}）")]
            }
            None => [format!("task {task}"), format!("任务 {task}")],
        }
    }

    fn list(&self, tasks: &[u64]) -> Both {
        let names: Vec<_> = tasks.iter().take(MOST_NAMES).map(|task| self.of(*task)).collect();
        let mut english: Vec<_> = names.iter().map(|[english, _]| english.clone()).collect();
        let mut chinese: Vec<_> = names.into_iter().map(|[_, chinese]| chinese).collect();
        if tasks.len() > MOST_NAMES {
            let more = tasks.len() - MOST_NAMES;
            english.push(format!("{more} more"));
            chinese.push(format!("另外 {more} 个"));
        }
        [and(&english), chinese.join("、")]
    }

    /// What happened in a turn: `Turn 12: “b.png” reads 512 bytes, meets WouldBlock, and waits to read from descriptor
    /// 8.`
    pub(super) fn sentence(&self, frame: &Frame) -> Both {
        let mut clauses = Clauses::default();
        if frame.begins && frame.turn > 1 {
            clauses.put("begins".into(), "开始".into());
        }
        if let Some(noted) = &frame.noted {
            for (bytes, reads, chinese) in
                [(noted.read, "reads", "读取"), (noted.written, "writes", "写入")]
            {
                if bytes > 0 {
                    let s = if bytes == 1 { "" } else { "s" };
                    clauses
                        .put(format!("{reads} {bytes} byte{s}"), format!("{chinese} {bytes} 字节"));
                }
            }
        }
        self.deeds(frame, &mut clauses);
        match frame.noted.as_ref().map_or(0, |noted| noted.would_block) {
            0 => {}
            1 => clauses.put("meets WouldBlock".into(), "遇到 WouldBlock".into()),
            n => {
                clauses
                    .put(format!("meets WouldBlock {n} times"), format!("{n} 次遇到 WouldBlock"));
            }
        }
        let [english, chinese] = match &frame.end {
            End::NotYet => ["runs still".into(), "仍在运行".into()],
            End::Yields(false) => ["lets the others run".into(), "让其他任务运行".into()],
            End::Yields(true) => [
                "is woken in its turn, so that it stays ready".into(),
                "在自己的轮次中被唤醒，仍然就绪".into(),
            ],
            End::Waits(what, deadline) => {
                let waiting =
                    Waiting { task: frame.task, what: *what, deadline: *deadline, hand: None };
                let own = frame.waiting.iter().find(|waiting| waiting.task == frame.task);
                self.waits(own.unwrap_or(&waiting))
            }
            End::Ends(Outcome::Returned) => ["returns: it is done".into(), "返回，结束".into()],
            End::Ends(Outcome::Panicked) => {
                ["panics: it is done".into(), "恐慌（panic），结束".into()]
            }
            End::Ends(Outcome::Cancelled) => {
                ["unwinds, cancelled: it is done".into(), "被取消，栈展开，结束".into()]
            }
        };
        clauses.put(english, chinese);
        let [english, chinese] = self.of(frame.task);
        let turn = frame.turn;
        [
            format!("Turn {turn}: {english} {}.", and(&clauses.english)),
            format!("第 {turn} 轮次：{chinese}{}。", clauses.chinese.join("，")),
        ]
    }

    fn deeds(&self, frame: &Frame, clauses: &mut Clauses) {
        let of = |pick: Pick| {
            let mut tasks: Vec<_> =
                frame.deeds.iter().filter_map(pick).filter(|task| *task != frame.task).collect();
            tasks.dedup();
            (!tasks.is_empty()).then(|| self.list(&tasks))
        };
        let deeds: [(&str, &str, Pick); 3] =
            [
                ("spawns", "创建", |deed| {
                    if let Deed::Spawned(task) = deed { Some(*task) } else { None }
                }),
                ("cancels", "取消", |deed| {
                    if let Deed::Cancelled(task, _) = deed { Some(*task) } else { None }
                }),
                ("wakes", "唤醒", |deed| {
                    if let Deed::Woken(task, _) = deed { Some(*task) } else { None }
                }),
            ];
        for (verb, chinese_verb, pick) in deeds {
            if let Some([english, chinese]) = of(pick) {
                clauses.put(format!("{verb} {english}"), format!("{chinese_verb}{chinese}"));
            }
        }
    }

    /// What happened between the turn before and this one; empty if nothing did.
    pub(super) fn before(&self, frame: &Frame) -> Both {
        let mut clauses = Clauses::default();
        let woken = frame.before.iter().any(|deed| matches!(deed, Deed::Woken(..)));
        if woken && !frame.pause.is_zero() {
            let time = short(frame.pause);
            clauses.put(format!("{time} pass"), format!("经过 {time}"));
        }
        for (by, english, chinese) in [
            (Actor::Socket, "a socket is ready for", "套接字就绪，唤醒"),
            (Actor::Time, "the time has come for", "时间已到，唤醒"),
            (
                Actor::Outside,
                "another thread, or code outside of any task, wakes",
                "其他线程或任务之外的代码唤醒",
            ),
        ] {
            let woken = |deed: &Deed| match deed {
                Deed::Woken(task, actor) if *actor == by => Some(*task),
                _ => None,
            };
            self.put_list(&mut clauses, frame, woken, english, chinese);
        }
        let by_task = |deed: &Deed| match deed {
            Deed::Woken(task, Actor::Task(_)) => Some(*task),
            _ => None,
        };
        self.put_list(&mut clauses, frame, by_task, "a destructor wakes", "析构函数唤醒");
        let spawned = |deed: &Deed| match deed {
            Deed::Spawned(task) if frame.turn > 1 => Some(*task),
            _ => None,
        };
        self.put_list(&mut clauses, frame, spawned, "another task is there:", "出现新任务");
        let cancelled =
            |deed: &Deed| if let Deed::Cancelled(task, _) = deed { Some(*task) } else { None };
        let ends = frame.before.iter().any(|deed| matches!(deed, Deed::Cancelled(_, Actor::End)));
        let (english, chinese) = match ends {
            true => ("the run ends, which cancels", "运行结束，取消"),
            false => ("cancelled from outside:", "被外部取消："),
        };
        self.put_list(&mut clauses, frame, cancelled, english, chinese);
        match clauses.english.is_empty() {
            true => Both::default(),
            false => [
                format!("Before it, {}.", and(&clauses.english)),
                format!("在此之前，{}。", clauses.chinese.join("，")),
            ],
        }
    }

    fn put_list(
        &self,
        clauses: &mut Clauses,
        frame: &Frame,
        pick: impl Fn(&Deed) -> Option<u64>,
        english: &str,
        chinese: &str,
    ) {
        let tasks: Vec<_> = frame.before.iter().filter_map(pick).collect();
        if !tasks.is_empty() {
            let [names, chinese_names] = self.list(&tasks);
            clauses.put(format!("{english} {names}"), format!("{chinese}{chinese_names}"));
        }
    }

    /// What a task waits for, until when, and which task has that.
    pub(super) fn waits(&self, waiting: &Waiting) -> Both {
        let mut english = waiting.what.to_string();
        let mut chinese = match waiting.what {
            WaitFor::Turn => "就绪".to_owned(),
            WaitFor::Readable(id) => format!("等待从描述符 {} 读取", id.fd()),
            WaitFor::Writable(id) => format!("等待向描述符 {} 写入", id.fd()),
            WaitFor::Time => "睡眠".to_owned(),
            WaitFor::Task(id) => {
                let [english_name, chinese_name] = self.of(id);
                english = format!("waits for {english_name}");
                format!("等待{chinese_name}")
            }
            WaitFor::Thing(thing) => format!("等待{}", thing_in_chinese(thing.name())),
            other => meaning(Phase::of_wait(other))[1].clone(),
        };
        if let Some(hand) = &waiting.hand {
            let [english_name, chinese_name] = self.of(hand.task);
            let line = |site: &Location<'_>| {
                let file = site.file().rsplit('/').next().unwrap_or_default();
                format!("{file}:{}", site.line())
            };
            let at = |comma: &str| {
                hand.site.map_or(String::new(), |site| comma.to_owned() + &line(site))
            };
            english += &format!(" ({} {english_name}{})", hand.how, at(", "));
            let at = at("，");
            chinese += &format!("（{}{chinese_name}{at}）", how_in_chinese(hand.how));
        }
        if let Some(deadline) = waiting.deadline {
            let at = at(deadline);
            english += &format!(", until {at}");
            chinese += &format!("，至 {at}");
        }
        [english, chinese]
    }
}

/// A moment of a run, to a microsecond: so that two turns which follow one another have two moments.
pub(super) fn at(time: Duration) -> String {
    let (value, digits, unit) = match time.as_nanos() {
        0 => return "0 s".to_owned(),
        1..1_000_000 => (time.as_nanos() as f64 / 1e3, 1, "µs"),
        1_000_000..1_000_000_000 => (time.as_nanos() as f64 / 1e6, 3, "ms"),
        _ => (time.as_secs_f64(), 6, "s"),
    };
    let text = format!("{value:.digits$}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[derive(Default)]
struct Clauses {
    english: Vec<String>,
    chinese: Vec<String>,
}

impl Clauses {
    fn put(&mut self, english: String, chinese: String) {
        self.english.push(english);
        self.chinese.push(chinese);
    }
}

/// `a`, `a and b`, `a, b, and c`.
fn and(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [all @ .., last] => format!("{}, and {last}", all.join(", ")),
    }
}

/// The things of this crate that tasks wait for; others keep their names.
fn thing_in_chinese(name: &str) -> &str {
    match name {
        "a mutex" => "互斥锁",
        "a reader-writer lock" => "读写锁",
        "a semaphore" => "信号量",
        "an item of a channel" => "通道中的消息",
        "room in a channel" => "通道中的空位",
        "an item of a queue" => "队列中的元素",
        "room in a queue" => "队列中的空位",
        "room in a pool" => "任务池中的空位",
        "work on another thread" => "其他线程上的工作",
        "the next of its tasks to end" => "它的任务中下一个结束者",
        "the others at a barrier" => "屏障处的其他任务",
        "a condition variable to be notified" => "条件变量的通知",
        "the answer of a oneshot" => "一次性通道的回复",
        "the items of a queue to be done" => "队列中的元素处理完毕",
        "the lock of a file" => "文件锁",
        "a call of `unpark`" => "对 unpark 的调用",
        other => other,
    }
}

fn how_in_chinese(how: &str) -> &str {
    match how {
        "held by" => "持有者：",
        "given back by" => "归还者：",
        "last sent to by" => "最近发送者：",
        "last received from by" => "最近接收者：",
        "last locked by" => "最近加锁者：",
        "last acquired by" => "最近获取者：",
        "last put into by" => "最近放入者：",
        "last got from by" => "最近取出者：",
        "last taken by" => "最近占用者：",
        other => other,
    }
}
