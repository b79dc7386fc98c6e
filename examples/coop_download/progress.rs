//! Progress bars on a terminal, and a log whose lines do not tear them.

use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode, format_description};

/// The bars of a run: one for each download that is under way. A clone shows the same.
#[derive(Clone)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Hidden, where nobody would see them or nobody wants to.
    pub fn new(wanted: bool) -> Progress {
        let target = match wanted && io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Progress { bars: MultiProgress::with_draw_target(target) }
    }

    pub fn bar(&self, name: &str) -> ProgressBar {
        if self.bars.is_hidden() {
            return ProgressBar::hidden();
        }
        // 78 columns of a terminal's 80.
        let template = "{prefix:34!} [{bar:18}] {bytes:>10}/{total_bytes:10}";
        let style = ProgressStyle::with_template(template).expect("a template that is one");
        let bar = ProgressBar::no_length().with_style(style.progress_chars("=> "));
        self.bars.add(bar.with_prefix(name.to_owned()))
    }

    pub fn remove(&self, bar: &ProgressBar) {
        self.bars.remove(bar);
    }

    /// Log lines as near to Python's `asctime - name - levelname - message` as simplelog goes: it puts the
    /// level before the name, and brackets around it.
    pub fn start_logging(&self, level: LevelFilter) {
        let mut config = ConfigBuilder::new();
        config
            .set_time_format_custom(format_description!(
                "[year]-[month]-[day] [hour]:[minute]:[second]"
            ))
            .set_target_level(LevelFilter::Error)
            .set_thread_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off);
        if level < LevelFilter::Debug {
            config.add_filter_ignore_str("ureq");
        }
        let colour =
            if io::stderr().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
        let logger = TermLogger::new(level, config.build(), TerminalMode::Stderr, colour);
        log::set_max_level(level);
        log::set_boxed_logger(Box::new(BetweenBars { logger, bars: self.bars.clone() }))
            .expect("no other logger is set");
    }
}

struct BetweenBars {
    logger: Box<TermLogger>,
    bars: MultiProgress,
}

impl Log for BetweenBars {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        // `suspend` keeps the bars locked meanwhile: a line is written there, and no task waits.
        self.bars.suspend(|| self.logger.log(record));
    }

    fn flush(&self) {
        self.logger.flush();
    }
}
