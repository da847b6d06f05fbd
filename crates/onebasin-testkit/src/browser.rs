//! Pages as a browser shows them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long a browser may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// A window is no narrower; narrower pages stand in a frame.
const NARROWEST: u32 = 500;

/// Chromium without a window.
#[derive(Debug)]
pub struct Browser {
    program: OsString,
}

/// What a page looks like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Look {
    /// Whether the page was asked to be dark.
    pub dark: bool,
    /// Width of the window, in CSS pixels like all that follow.
    pub width: f64,
    /// Height of the page.
    pub height: f64,
    /// What was said on the console: errors, warnings, violations of the page's policy.
    pub console: Vec<String>,
    /// What the page asked for besides itself, or would have if it could.
    pub requests: Vec<String>,
    /// How much of the page lies right of the window.
    pub overflow: f64,
    /// Size of the smallest text, as it is seen.
    pub smallest_text: f64,
    /// Which text that is.
    pub smallest_text_is: String,
    /// Least contrast of a text with what lies behind it (WCAG: from 1 to 21).
    pub lowest_contrast: f64,
    /// Which text that is.
    pub lowest_contrast_is: String,
    /// Words in drawings that reach out of them.
    pub cut_off: Vec<String>,
    /// Words in drawings that lie over each other.
    pub colliding: Vec<String>,
    /// SVG elements that are not hidden from readers who listen.
    pub figures: Vec<Drawn>,
}

/// A drawing, as it is seen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Drawn {
    /// Its `aria-label`.
    pub label: String,
    /// Its width on the screen.
    pub width: f64,
    /// Its height on the screen.
    pub height: f64,
    /// How many shapes in it are painted and have an extent.
    pub marks: usize,
}

/// The browser that looks at pages: `$ONEBASIN_CHROMIUM`, or Chromium or Chrome where they are installed.
///
/// Says by name that `test` is skipped where there is none.
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
pub fn browser_or_skip(test: &str) -> Option<Browser> {
    let named = std::env::var_os("ONEBASIN_CHROMIUM");
    let usual = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].map(OsString::from);
    let starts = |program: &OsString| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let program = named.map_or_else(|| usual.to_vec(), |named| vec![named]).into_iter().find(starts);
    if program.is_none() {
        println!("SKIPPED {test}: no browser; install chromium or name one in ONEBASIN_CHROMIUM");
    }
    program.map(|program| Browser { program })
}

impl Browser {
    /// Opens a page in a window `width` pixels wide, for a reader who prefers dark or light, and measures it.
    ///
    /// The page runs as it is, under its own policy; the measuring is done from outside.
    ///
    /// # Panics
    /// If the page cannot be read, or the browser does not do its work within two minutes.
    pub fn look(&self, page: &Path, width: u32, dark: bool) -> Look {
        let script = format!("<script>addEventListener('load',()=>{{{}}})</script>", include_str!("look.js"));
        let (dom, log) = self.open(page, (width, 1000), dark, &script, &["--dump-dom".into()]);
        let found = dom.split_once(" data-look=\"").and_then(|(_, rest)| rest.split_once('"'));
        let Some((found, _)) = found else { panic!("{}: the browser measured nothing:\n{log}\n{dom}", page.display()) };
        let found = found.replace("&quot;", "\"").replace("&amp;", "&");
        let mut look: Look = serde_json::from_str(&found).unwrap_or_else(|why| panic!("{why}: {found}"));
        look.console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
        look
    }

    /// Saves a picture (PNG) of the whole page, as [`Browser::look`] sees it.
    ///
    /// # Panics
    /// As [`Browser::look`] does, and if the picture cannot be written.
    pub fn screenshot(&self, page: &Path, width: u32, dark: bool, to: &Path) {
        let height = self.look(page, width, dark).height.clamp(100.0, 20_000.0) as u32;
        let mut shot = OsString::from("--screenshot=");
        shot.push(std::path::absolute(to).expect("a path"));
        let (_, log) = self.open(page, (width, height), dark, "", &[shot, "--hide-scrollbars".into()]);
        assert!(to.is_file(), "{}: no picture:\n{log}", to.display());
    }

    /// Runs the browser on a page in a frame of the given size; returns its output and its log.
    fn open(&self, page: &Path, size: (u32, u32), dark: bool, script: &str, flags: &[OsString]) -> (String, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let text = fs::read_to_string(page).unwrap_or_else(|why| panic!("{}: {why}", page.display()));
        let text = text.replace('&', "&amp;").replace('"', "&quot;");
        let (width, height) = size;
        let frame = format!(
            "<!DOCTYPE html><html style=\"color-scheme:light dark\"><meta charset=\"utf-8\"><link rel=\"icon\" \
             href=\"data:,\"><body style=\"margin:0\"><iframe id=\"view\" style=\"display:block;border:0;width:{width}px;\
             height:{height}px\" srcdoc=\"{text}\"></iframe>{script}</body></html>"
        );
        fs::write(path("frame.html"), frame).expect("room in the temporary folder");
        let mut profile = OsString::from("--user-data-dir=");
        profile.push(path("profile"));
        let mut address = OsString::from("file://");
        address.push(path("frame.html"));
        let scheme = u8::from(!dark);
        let mut command = Command::new(&self.program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args([
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=5000",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--window-size={},{height}", width.max(NARROWEST)))
            .args([&profile])
            .args(flags)
            .arg(address);
        self.run(&mut command, &path("output"), &path("log"))
    }

    fn run(&self, command: &mut Command, output: &Path, log: &Path) -> (String, String) {
        let create = |path: &Path| Stdio::from(File::create(path).expect("room in the temporary folder"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(create(output))
            .stderr(create(log))
            .spawn()
            .unwrap_or_else(|why| panic!("{}: {why}", self.program.to_string_lossy()));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} is still at work after {PATIENCE:?}", self.program.to_string_lossy());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let (output, log) = (read(output), read(log));
        assert!(status.success(), "{}: {status}:\n{log}", self.program.to_string_lossy());
        (output, log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with one of every fault.
    const FAULTY: &str = r#"<!DOCTYPE html><html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src file:"></head>
<body style="margin:0;background:#fff;color:#000">
<p style="font-size:8px">little &amp; "quoted"</p><p style="color:#eee">pale</p><div style="width:700px">wide</div>
<img src="missing.png"><script>1</script>
<svg aria-label="drawing" width="100" height="50" viewBox="0 0 200 100"><rect width="10" height="10"/><path d="M0 0" />
<text x="150" y="50" font-size="30">cut off</text><text x="0" y="50" font-size="20">one</text><text x="5" y="52"
font-size="20">two</text></svg><svg aria-hidden="true"></svg></body></html>"#;

    #[test]
    fn a_look_finds_what_is_wrong() {
        let Some(browser) = browser_or_skip("a_look_finds_what_is_wrong") else { return };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let page = folder.path().join("faulty.html");
        fs::write(&page, FAULTY).expect("room");
        let look = browser.look(&page, 360, true);
        assert!(look.dark && look.width == 360.0 && look.overflow == 340.0, "{look:?}");
        assert_eq!((look.smallest_text, look.smallest_text_is.as_str()), (8.0, "little & \"quoted\""));
        assert!((look.lowest_contrast, look.lowest_contrast_is.as_str()) < (1.2, ""), "{look:?}");
        assert!(look.requests.len() == 1 && look.requests[0].ends_with("missing.png"), "{look:?}");
        assert!(look.console.iter().any(|line| line.contains("Content Security Policy")), "{look:?}");
        assert_eq!(look.cut_off, ["cut off"]);
        assert_eq!(look.colliding, ["one | two"]);
        assert_eq!(look.figures, [Drawn { label: "drawing".to_owned(), width: 100.0, height: 50.0, marks: 1 }]);
        assert!(!browser.look(&page, 1200, false).dark);
    }
}
