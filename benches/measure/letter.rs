//! The letter that is sent: about 5 kB in two parts, with its reader's name and numbers in both.

use std::path::Path;

/// The campaign `letter` for everyone, and its templates.
pub fn write(dir: &Path) {
    let write = |name: &str, text: &str| crate::measure::write(dir, name, text);
    write(
        "campaigns/letter.yaml",
        "campaign: letter\ntitle: A letter\nstatus: live\ntopic: offers\naudience: everyone\nsteps:\n  - step: letter\n    template: letter\n",
    );
    let paragraph =
        "Over the past month the shelves were filled again, and a few things came in that we think you will like. "
            .repeat(6);
    let rows: String = (1..=6)
        .map(|i| format!("<tr><td style=\"padding:8px;font:14px Arial\">Item {i}</td><td><a href=\"https://shop.example.com/items/{i}\" style=\"color:#2563eb\">View details</a></td></tr>\n"))
        .collect();
    write(
        "templates/letter.html",
        &format!(
            "Subject: {{{{ customer.first_name | default(value=\"Hello\") }}}}, your letter\nPreheader: From your shop\n\n\
             <!doctype html><html><body style=\"margin:0;background:#f3f4f6\"><table width=\"600\">\
             <tr><td style=\"font:bold 22px Arial\">Hello {{{{ customer.first_name | default(value=\"you\") }}}}</td></tr>\
             <tr><td style=\"font:15px Arial\"><p>You have ordered {{{{ profile.orders }}}} times, for {{{{ profile.revenue | money }}}}.</p>\
             <p>{paragraph}</p><p>{paragraph}</p></td></tr><tr><td><table>{rows}</table></td></tr>\
             <tr><td style=\"font:12px Arial\">{{{{ brand.organisation }}}}, {{{{ brand.postal_address }}}}. \
             <a href=\"{{{{ links.unsubscribe }}}}\">Unsubscribe</a></td></tr></table></body></html>\n"
        ),
    );
    write(
        "templates/letter.txt",
        &format!(
            "Hello {{{{ customer.first_name | default(value=\"you\") }}}}\n\n{paragraph}\n\nUnsubscribe: {{{{ links.unsubscribe }}}}\n"
        ),
    );
}
