//! Writing series, and the two shapes of the page.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use weir_clients::histogram::Counted;

/// The labels of one series.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// What writes the series of a page. Names are whole, so that they are found where they are looked for, except for the
/// `_total` of counters.
pub struct Page<'a>(pub DescriptorEncoder<'a>);

impl Page<'_> {
    /// What goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// One for each set of labels.
    pub fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What goes up only. Its name gets the suffix `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// What goes up only, and differs from a gauge by nothing but the suffix of its name, which is in `name` here.
    /// OpenMetrics has one family for both names, so that it cannot be called a counter there.
    pub fn counter_beside_gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Unknown)?.encode_gauge(&value)
    }

    /// One for each set of labels.
    pub fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// How long something took.
    pub fn histogram(&mut self, name: &str, help: &str, counted: &Counted) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(
                counted.seconds(),
                counted.count(),
                &counted.buckets(),
                None,
            )
    }
}

/// The shapes that a page can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Prometheus' text format 0.0.4, which everybody reads.
    Text,
    /// OpenMetrics 1.0, for those who ask for it.
    OpenMetrics,
}

impl Shape {
    /// What somebody who sends this `Accept` reads.
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The page, of which `text` is the shape of OpenMetrics.
    pub fn render(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Text => in_text(&text),
        }
    }
}

/// The older format describes a counter under its whole name, and knows no end.
fn in_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 1024);
    let mut help = None;
    for line in openmetrics.lines() {
        if line.starts_with("# HELP ") {
            // The type, which comes next, says how the name is written.
            help = Some(line);
            continue;
        }
        let counter = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"));
        if let (Some(name), Some(help)) = (counter, help) {
            let words = help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name));
            text += &format!("# HELP {name}_total{}\n", words.unwrap_or_default());
            text += &format!("# TYPE {name}_total counter\n");
        } else if line != "# EOF" {
            if let (true, Some(help)) = (line.starts_with("# TYPE "), help) {
                text += help;
                text.push('\n');
            }
            match line.strip_suffix("_total unknown").filter(|_| line.starts_with("# TYPE ")) {
                Some(type_of) => text += &format!("{type_of}_total counter"),
                None => text += line,
            }

            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_describes_counters_under_their_whole_names() {
        let openmetrics = "# HELP a_b Bs.\n# TYPE a_b counter\na_b_total{x=\"# EOF\"} 3\n\
            # HELP c Cs.\n# TYPE c gauge\nc 1.5\n# EOF\n";
        let text = "# HELP a_b_total Bs.\n# TYPE a_b_total counter\na_b_total{x=\"# EOF\"} 3\n\
            # HELP c Cs.\n# TYPE c gauge\nc 1.5\n";
        assert_eq!(Shape::of("*/*").render(openmetrics.to_owned()), text);
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(Shape::of(accept).render(openmetrics.to_owned()), openmetrics);
    }
}
