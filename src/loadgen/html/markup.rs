//! Writes markup that is balanced and escaped by construction, well-formed as XML and as HTML. The only
//! unescaped text are the page's own style and script. Not here: what a page looks like.

pub struct Markup {
    out: String,
    open: Vec<&'static str>,
}

pub type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Markup {
    pub fn new() -> Markup {
        Markup { out: "<!DOCTYPE html>\n".to_string(), open: Vec::new() }
    }

    fn start(&mut self, tag: &str, attributes: Attributes) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(value, &mut self.out);
            self.out.push('"');
        }
    }

    pub fn open(&mut self, tag: &'static str, attributes: Attributes) {
        self.start(tag, attributes);
        self.out.push('>');
        self.open.push(tag);
    }

    pub fn close(&mut self) {
        let tag = self.open.pop().expect("closes what was opened");
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
        // A line break between blocks can't be seen, and makes the source readable.
        let block = ["section", "figure", "table", "tr", "div", "p", "head", "style", "svg", "ul"];
        if block.contains(&tag) {
            self.out.push('\n');
        }
    }

    /// An element that has no content: of HTML's void ones, or a shape of SVG.
    pub fn leaf(&mut self, tag: &str, attributes: Attributes) {
        self.start(tag, attributes);
        self.out.push_str(" />");
    }

    pub fn text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    pub fn element(&mut self, tag: &'static str, attributes: Attributes, text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close();
    }

    /// `open`, what `f` writes, `close`.
    pub fn within(
        &mut self,
        tag: &'static str,
        attributes: Attributes,
        f: impl FnOnce(&mut Markup),
    ) {
        self.open(tag, attributes);
        f(self);
        self.close();
    }

    /// A style or script of ours: the same to a parser of XML, to which it is marked as plain text.
    pub fn verbatim(&mut self, tag: &'static str, ours: &str) {
        assert!(!ours.contains("</") && !ours.contains("]]>"), "ends the element or the mark");
        self.open(tag, &[]);
        self.out.push_str("/*<![CDATA[*/\n");
        self.out.push_str(ours);
        self.out.push_str("/*]]>*/");
        self.close();
    }

    pub fn finish(self) -> String {
        assert!(self.open.is_empty(), "still open: {:?}", self.open);
        self.out
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // No document may hold these, not even escaped.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            // Text that turns the reading direction could make a line say something else.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped_and_controls_replaced() {
        let mut m = Markup::new();
        m.element("p", &[("title", "a\"b'c<d>")], "<script>&\u{0}\u{1b}\u{202e}x</script>");
        assert_eq!(
            m.finish(),
            "<!DOCTYPE html>\n<p title=\"a&quot;b&#39;c&lt;d&gt;\">\
             &lt;script&gt;&amp;\u{fffd}\u{fffd}\u{fffd}x&lt;/script&gt;</p>\n"
        );
    }

    #[test]
    #[should_panic(expected = "still open")]
    fn what_stays_open_is_our_bug() {
        let mut m = Markup::new();
        m.open("p", &[]);
        m.finish();
    }
}
