//! The figures as a table that stands in docs/performance.md as it is printed.

use std::time::Duration;

use super::{Beats, Figures};
use crate::meter::mib;
use crate::quantile::quantile;

/// One column for each step.
pub fn table(figures: &[Figures]) -> String {
    let mut rows = vec![
        row("", figures, |f| {
            format!("{} nodes, {} pods", f.nodes, f.pods)
        }),
        row("---", figures, |_| "---".to_owned()),
        row("resident memory after a start among them", figures, |f| {
            mib(f.memory.resident)
        }),
        row("of that, not the program's file", figures, |f| {
            mib(f.memory.anonymous)
        }),
        row("at its peak", figures, |f| mib(f.memory.peak)),
        row("after it has seen them come", figures, |f| {
            mib(f.grown.resident)
        }),
        row("processor time of the start", figures, |f| ms(f.start)),
    ];
    let kinds = figures.first().map_or(0, |first| first.beats.len());
    for kind in 0..kinds {
        let of = |f: &Figures| f.beats.get(kind).cloned();
        let what = figures.first().and_then(of).map_or("", |beats| beats.what);
        rows.push(row(&format!("{what}: a second"), figures, |f| {
            of(f).map_or_else(String::new, |beats| format!("{:.1}", beats.rate))
        }));
        rows.push(row("- processor", figures, |f| {
            of(f).map_or_else(String::new, |beats| {
                format!("{:.2} %", beats.usage.load() * 100.0)
            })
        }));
        rows.push(row("- bytes a second from the API server", figures, |f| {
            of(f).map_or_else(String::new, |beats| format!("{:.0}", beats.usage.rate()))
        }));
        rows.push(row("- processor time for each", figures, |f| {
            each(f, of(f))
        }));
    }
    let quantiles = |times: &[Duration]| {
        [50, 99, 100]
            .map(|hundredths| ms(quantile(times, hundredths)))
            .join(", ")
    };
    rows.push(row(
        "node created to route there: p50, p99, worst",
        figures,
        |f| quantiles(&f.routes.come),
    ));
    rows.push(row("of that, until the API server answers", figures, |f| {
        quantiles(&f.routes.answered)
    }));
    rows.push(row("node deleted to route gone", figures, |f| {
        quantiles(&f.routes.gone)
    }));
    rows.push(row("100 nodes at once: to the last route", figures, |f| {
        ms(f.routes.crowd)
    }));
    rows.concat()
}

fn each(figures: &Figures, beats: Option<Beats>) -> String {
    match (beats, figures.beats.first()) {
        (Some(beats), Some(idle)) if beats.rate > 0.0 => {
            format!("{:.0} µs", beats.each(idle).as_secs_f64() * 1e6)
        }
        _ => String::new(),
    }
}

fn row(title: &str, figures: &[Figures], cell: impl Fn(&Figures) -> String) -> String {
    let cells: Vec<_> = figures.iter().map(cell).collect();
    format!("| {title} | {} |\n", cells.join(" | "))
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
