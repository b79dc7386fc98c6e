//! The queue in Redis: a stream with a consumer group, and hashes of results.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `fleet:jobs` | stream, group `workers` | each job that has not ended: its URL |
//! | `fleet:done`, `fleet:failed`, `fleet:dead` | hash | by URL: the result, JSON; each URL is in at most one |
//! | `fleet:ended` | string | jobs that have ended, a URL that was added again too: for the rate |
//! | `fleet:words` | hash | by worker: how it died |
//! | `fleet:host:HOST` | sorted set | the places taken for downloads from a host, by the time at which they end |
//!
//! A job that is taken is *pending* in the group, under the name of its worker, with the time since it was last
//! delivered or renewed. Whoever takes jobs looks there first, and claims those that were not renewed for
//! [`IDLE`]: their worker is dead, or cut off. An entry is removed from the stream in the same step that keeps its
//! result, so that the stream's length is that of the work that is left.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use redis::{Cmd, cmd, pipe};

use crate::connection::Connection;
use crate::queue::{Counts, DEADLY, IDLE, Job, Outcome, Queue};
use crate::server::Server;

/// How long a place for a host stays taken without being taken again.
const PLACE: Duration = Duration::from_secs(30);

const JOBS: &str = "fleet:jobs";
const GROUP: &str = "workers";
const WORDS: &str = "fleet:words";

/// Jobs that are sent to Redis at once.
const BATCH: usize = 1000;

/// Keeps results and takes their jobs off the stream: for each, a list, a URL, a result and an id. What is done stays
/// done, whichever worker comes late.
const FINISH: &str = "
    local ended = 0
    for at = 1, #ARGV, 4 do
        local list, url, result, id = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
        if list == 'done' or redis.call('HEXISTS', 'fleet:done', url) == 0 then
            redis.call('HDEL', 'fleet:failed', url)
            redis.call('HDEL', 'fleet:dead', url)
            redis.call('HSET', 'fleet:' .. list, url, result)
        end
        redis.call('XACK', 'fleet:jobs', 'workers', id)
        ended = ended + redis.call('XDEL', 'fleet:jobs', id)
    end
    redis.call('INCRBY', 'fleet:ended', ended)
    return redis.call('XLEN', 'fleet:jobs')";

/// Takes a place for a host, or the same place again, by the server's clock.
const ENTER: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
        return 0
    end
    redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return 1";

/// Puts each failed or dead URL back among the jobs, a few at a time.
const RETRY: &str = "
    local moved = 0
    for _, list in ipairs({ 'fleet:failed', 'fleet:dead' }) do
        local page = redis.call('HSCAN', list, '0', 'COUNT', 500)[2]
        for at = 1, #page, 2 do
            redis.call('XADD', 'fleet:jobs', '*', 'url', page[at])
            moved = moved + redis.call('HDEL', list, page[at])
        end
    end
    return moved";

/// The answer of `XREADGROUP`: for each stream, its entries.
type Streams = Option<Vec<(String, Vec<Entry>)>>;

/// An entry of a stream; without fields if it was removed meanwhile.
type Entry = (String, Option<Vec<String>>);

/// The queue in Redis, as one worker or one command sees it.
pub struct RedisQueue {
    worker: String,
    /// For what waits in the server, so that it holds up nothing else.
    waiting: Connection,
    calling: Connection,
    /// When it last looked for jobs to claim.
    looked: Cell<Option<Instant>>,
}

impl RedisQueue {
    /// In the server at `address`, under the name of a worker.
    ///
    /// # Errors
    ///
    /// The server's, for a key of another type.
    pub fn open(
        server: &Server,
        worker: &str,
        patience: Option<Duration>,
    ) -> io::Result<RedisQueue> {
        let connection = || Connection::new(server, patience);
        let queue = RedisQueue {
            worker: worker.into(),
            waiting: connection(),
            calling: connection(),
            looked: Cell::new(None),
        };
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(JOBS).arg(GROUP).arg("0").arg("MKSTREAM");
        match queue.calling.call::<()>(&create) {
            Err(error) if !error.to_string().contains("BUSYGROUP") => Err(error),
            _ => Ok(queue), // It was there before.
        }
    }

    /// Adds jobs, many in one round trip, and holds no more than these. Returns how many.
    ///
    /// # Errors
    ///
    /// What ends `urls`, and the server's.
    pub fn add(&self, urls: impl Iterator<Item = io::Result<String>>) -> io::Result<u64> {
        let (mut batch, mut added) = (pipe(), 0);
        for url in urls {
            batch.cmd("XADD").arg(JOBS).arg("*").arg("url").arg(url?).ignore();
            if batch.len() == BATCH {
                self.calling.call_all::<()>(&batch)?;
                added += BATCH as u64;
                batch.clear();
            }
        }
        added += batch.len() as u64;
        if !batch.is_empty() {
            self.calling.call_all::<()>(&batch)?;
        }
        Ok(added)
    }

    /// Puts what has failed back among the jobs. Returns how many.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn retry_failed(&self) -> io::Result<u64> {
        // Not until there are none: with workers at work, the same URLs may fail again meanwhile.
        let Counts { failed, dead, .. } = self.counts()?;
        let mut all = 0;
        while all < failed + dead {
            match self.calling.call::<u64>(cmd("EVAL").arg(RETRY).arg(0))? {
                0 => break,
                moved => all += moved,
            }
        }
        Ok(all)
    }

    /// Calls `each` with every URL of a list, and its result. Nothing may change meanwhile; else some may come twice.
    ///
    /// # Errors
    ///
    /// The server's, and that of `each`.
    pub fn results(
        &self,
        list: &str,
        mut each: impl FnMut(&str, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut cursor = String::from("0");
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(format!("fleet:{list}")).arg(&cursor).arg("COUNT").arg(1000);
            let (next, page): (String, Vec<(String, String)>) = self.calling.call(&scan)?;
            for (url, result) in page {
                each(&url, &result)?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Keeps what is known of the death of a worker, for the jobs that it had.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn keep_words(&self, worker: &str, words: &str) -> io::Result<()> {
        self.calling.call(cmd("HSET").arg(WORDS).arg(worker).arg(words))
    }

    /// How many jobs are where.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut all = pipe();
        all.atomic().cmd("XLEN").arg(JOBS).cmd("XPENDING").arg(JOBS).arg(GROUP);
        for list in ["done", "failed", "dead"] {
            all.cmd("HLEN").arg(format!("fleet:{list}"));
        }
        all.cmd("GET").arg("fleet:ended");
        type Pending = (u64, Option<String>, Option<String>, Option<Vec<(String, u64)>>);
        type Answer = (u64, Pending, u64, u64, u64, Option<u64>);
        let (length, (pending, _, _, workers), done, failed, dead, ended): Answer =
            self.calling.call_all(&all)?;
        let running: BTreeMap<String, u64> = workers.unwrap_or_default().into_iter().collect();
        let waiting = length.saturating_sub(pending);
        Ok(Counts { waiting, running, done, failed, dead, ended: ended.unwrap_or(0) })
    }

    /// Claims jobs that were not renewed; buries those that have killed too many.
    fn claim(&self, room: usize) -> io::Result<Vec<Job>> {
        if self.looked.get().is_some_and(|looked| looked.elapsed() < IDLE / 4) {
            return Ok(Vec::new());
        }
        self.looked.set(Some(Instant::now()));
        let mut pending = cmd("XPENDING");
        pending.arg(JOBS).arg(GROUP).arg("IDLE").arg(millis(IDLE)).arg("-").arg("+").arg(room);
        let pending: Vec<(String, String, u64, u64)> = self.calling.call(&pending)?;
        let (deadly, others): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|(_, _, _, deliveries)| *deliveries >= DEADLY);
        for (id, before, _, deliveries) in deadly {
            for job in self.claim_these(&[id])? {
                let words: Option<String> =
                    self.calling.call(cmd("HGET").arg(WORDS).arg(&before))?;
                let words = words.unwrap_or_else(|| "nothing is known of its end".into());
                let words = format!("{deliveries} workers died of it; the last, {before}: {words}");
                self.finish(&[(job, Outcome::Dead { words })])?;
            }
        }
        let others: Vec<String> = others.into_iter().map(|(id, _, _, _)| id).collect();
        self.claim_these(&others)
    }

    /// Claims what of these is still not renewed: of several workers that try, the server lets one have a job.
    fn claim_these(&self, ids: &[String]) -> io::Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut claim = cmd("XCLAIM");
        claim.arg(JOBS).arg(GROUP).arg(&self.worker).arg(millis(IDLE)).arg(ids);
        Ok(jobs(self.calling.call(&claim)?))
    }
}

impl Queue for RedisQueue {
    fn take(&self, room: usize, patience: Duration) -> io::Result<Vec<Job>> {
        let claimed = self.claim(room)?;
        if !claimed.is_empty() {
            return Ok(claimed);
        }
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.worker).arg("COUNT").arg(room);
        read.arg("BLOCK").arg(millis(patience)).arg("STREAMS").arg(JOBS).arg(">");
        let streams: Streams = self.waiting.call(&read)?;
        Ok(streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| jobs(entries)).collect())
    }

    fn renew(&self, ids: &[String]) -> io::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut renew = cmd("XCLAIM");
        renew.arg(JOBS).arg(GROUP).arg(&self.worker).arg(0).arg(ids);
        self.calling.call(renew.arg("JUSTID")) // Which does not count as a delivery.
    }

    fn finish(&self, ends: &[(Job, Outcome)]) -> io::Result<u64> {
        let mut finish = eval(FINISH, &[]);
        for (job, outcome) in ends {
            let result = outcome.to_json(&self.worker).to_string();
            finish.arg(outcome.list()).arg(&job.url).arg(result).arg(&job.id);
        }
        self.calling.call(&finish)
    }

    fn enter(&self, host: &str, job: &Job, places: u32) -> io::Result<bool> {
        let mut enter = eval(ENTER, &[&key(host)]);
        self.calling.call(enter.arg(&job.id).arg(places).arg(millis(PLACE)))
    }

    fn leave(&self, host: &str, job: &Job) -> io::Result<()> {
        self.calling.call(cmd("ZREM").arg(key(host)).arg(&job.id))
    }

    fn left(&self) -> io::Result<u64> {
        self.calling.call(cmd("XLEN").arg(JOBS)) // What has ended is removed.
    }
}

fn eval(script: &str, keys: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(script).arg(keys.len()).arg(keys);
    eval
}

fn key(host: &str) -> String {
    format!("fleet:host:{host}")
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// The jobs in entries of the stream.
fn jobs(entries: Vec<Entry>) -> Vec<Job> {
    let job = |(id, fields): Entry| {
        let mut fields = fields?.into_iter().skip_while(|name| name != "url").skip(1);
        Some(Job { id, url: fields.next()? })
    };
    entries.into_iter().filter_map(job).collect()
}
