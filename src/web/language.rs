//! Which language a page speaks, and what it says in it.
//!
//! The language of the mail comes first, since that is what the person reads; then what the browser asks for; then the project's.

/// The languages the pages know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Japanese,
}

impl Language {
    /// The language of a locale (`ja-JP`, `en_GB`), when it is one of ours.
    pub fn of_locale(locale: &str) -> Option<Language> {
        match locale.split(['-', '_']).next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Language::English),
            "ja" => Some(Language::Japanese),
            _ => None,
        }
    }

    /// The most wanted of ours in an Accept-Language header (RFC 9110 §12.5.4).
    pub fn accepted(header: &str) -> Option<Language> {
        let mut best: Option<(Language, f64)> = None;
        for item in header.split(',') {
            let mut parts = item.split(';');
            let Some(language) = parts.next().map(str::trim).and_then(Language::of_locale) else { continue };
            let q = parts.find_map(|p| p.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if q > 0.0 && best.is_none_or(|(_, most)| q > most) {
                best = Some((language, q));
            }
        }
        best.map(|(language, _)| language)
    }

    /// The page's `lang`.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Japanese => "ja",
        }
    }

    /// What the pages say. `{shop}`, `{topic}`, `{address}` and `{contact}` are filled in, and `{n}` and `{of}` of an answer.
    pub fn texts(self) -> &'static Texts {
        match self {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        }
    }
}

/// Every sentence of the pages.
pub struct Texts {
    pub ask_title: &'static str,
    pub ask: &'static str,
    pub ask_without_address: &'static str,
    pub stop_topic: &'static str,
    pub stop_promotional: &'static str,
    pub choose: &'static str,
    pub stopped_title: &'static str,
    pub topic_stopped: &'static str,
    pub promotional_stopped: &'static str,
    pub on_its_way: &'static str,
    pub undo: &'static str,
    pub resumed_title: &'static str,
    pub topic_resumed: &'static str,
    pub promotional_resumed: &'static str,
    pub preferences_title: &'static str,
    pub preferences: &'static str,
    pub preferences_without_address: &'static str,
    pub always: &'static str,
    pub save: &'static str,
    pub saved_title: &'static str,
    pub saved: &'static str,
    pub chose_title: &'static str,
    pub choose_again: &'static str,
    pub number: &'static str,
    pub words: &'static str,
    pub send_answer: &'static str,
    pub who_reads: &'static str,
    pub answered_title: &'static str,
    pub answered: &'static str,
    pub answer_again: &'static str,
    pub barred: &'static str,
    pub not_found_title: &'static str,
    pub not_found: &'static str,
    pub not_understood_title: &'static str,
    pub not_understood: &'static str,
    pub unavailable_title: &'static str,
    pub unavailable: &'static str,
}

const ENGLISH: Texts = Texts {
    ask_title: "Stop these e-mails?",
    ask: "{shop} writes to {address} about “{topic}”.",
    ask_without_address: "{shop} writes to you about “{topic}”.",
    stop_topic: "Unsubscribe from “{topic}”",
    stop_promotional: "Stop all promotional e-mail",
    choose: "Choose what you get instead",
    stopped_title: "You are unsubscribed",
    topic_stopped: "{shop} will not write to you about “{topic}” any more.",
    promotional_stopped: "{shop} will not send you promotional e-mail any more.",
    on_its_way: "An e-mail that is already on its way may still arrive.",
    undo: "Undo",
    resumed_title: "Welcome back",
    topic_resumed: "{shop} will keep writing to you about “{topic}”.",
    promotional_resumed: "{shop} will keep writing to you about the topics you chose.",
    preferences_title: "Your e-mail preferences",
    preferences: "What may {shop} write to {address} about?",
    preferences_without_address: "What may {shop} write to you about?",
    always: "Answers to your questions and news about your orders reach you in any case.",
    save: "Save",
    saved_title: "Saved",
    saved: "This is what {shop} writes to you about from now on.",
    chose_title: "You chose {n} of {of}",
    choose_again: "Not what you meant? Choose again:",
    number: "{n} of {of}",
    words: "Would you like to add a few words?",
    send_answer: "Send my answer",
    who_reads: "Your answer reaches {shop} together with your name, so that somebody can write back.",
    answered_title: "Thank you",
    answered: "Your answer is with {shop}: {n} of {of}. We are glad that you took the time.",
    answer_again: "Change my answer",
    barred: "We cannot mail this address at present. To change that, please write to {contact}.",
    not_found_title: "This link does not work",
    not_found: "It may have been cut off or changed on its way. Please open the link in the e-mail once more, or write to {contact} and we will take you off the list.",
    not_understood_title: "Nothing was changed",
    not_understood: "We did not understand what was asked for. Please open the link in the e-mail once more and press the button there, or write to {contact}.",
    unavailable_title: "Please try again in a moment",
    unavailable: "Nothing was changed, because we could not save it just now. If this keeps happening, please write to {contact}.",
};

const JAPANESE: Texts = Texts {
    ask_title: "メールの配信を停止しますか？",
    ask: "{shop}より、{address} 宛に「{topic}」のメールをお届けしています。",
    ask_without_address: "{shop}より、「{topic}」のメールをお届けしています。",
    stop_topic: "「{topic}」の配信を停止する",
    stop_promotional: "広告・宣伝メールをすべて停止する",
    choose: "受け取るメールを選ぶ",
    stopped_title: "配信を停止しました",
    topic_stopped: "今後、{shop}より「{topic}」のメールはお送りいたしません。",
    promotional_stopped: "今後、{shop}より広告・宣伝メールはお送りいたしません。",
    on_its_way: "すでに送信済みのメールが、行き違いで届く場合がございます。ご了承ください。",
    undo: "元に戻す",
    resumed_title: "配信を再開しました",
    topic_resumed: "{shop}より、引き続き「{topic}」のメールをお届けします。",
    promotional_resumed: "{shop}より、お選びいただいているメールを引き続きお届けします。",
    preferences_title: "メール配信の設定",
    preferences: "{address} 宛に{shop}からお届けするメールをお選びください。",
    preferences_without_address: "{shop}からお届けするメールをお選びください。",
    always: "ご注文やお問い合わせに関する大切なご連絡は、設定にかかわらずお届けいたします。",
    save: "保存する",
    saved_title: "設定を保存しました",
    saved: "今後は、以下の設定でメールをお届けします。",
    chose_title: "{of}点満点中「{n}」をお選びになりました",
    choose_again: "お選び直しはこちらから",
    number: "{of}点満点中{n}",
    words: "よろしければ、ひとことお聞かせください",
    send_answer: "この内容で送信する",
    who_reads: "ご回答は、お客様のお名前とともに{shop}へ届きます。必要に応じて、こちらからご連絡を差し上げます。",
    answered_title: "ご回答ありがとうございます",
    answered: "{shop}にて、ご回答（{of}点満点中「{n}」）を承りました。お時間をいただき、誠にありがとうございます。",
    answer_again: "回答を変更する",
    barred: "現在、このアドレスにはメールをお送りできません。再開をご希望の場合は、{contact} までご連絡ください。",
    not_found_title: "このリンクはご利用いただけません",
    not_found: "リンクが途中で切れているか、変更されている可能性があります。お手数ですが、メール内のリンクをもう一度開いていただくか、{contact} までご連絡ください。こちらで配信停止のお手続きをいたします。",
    not_understood_title: "設定は変更されていません",
    not_understood: "ご指定の内容を確認できませんでした。お手数ですが、メール内のリンクをもう一度開いてボタンを押していただくか、{contact} までご連絡ください。",
    unavailable_title: "しばらくしてからお試しください",
    unavailable: "ただいま保存できなかったため、設定は変更されていません。繰り返し表示される場合は、お手数ですが {contact} までご連絡ください。",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_language_is_chosen() {
        for (header, language) in [
            ("ja", Some(Language::Japanese)),
            ("en-GB,en;q=0.9,ja;q=0.8", Some(Language::English)),
            ("de, ja;q=0.5, en;q=0.7", Some(Language::English)),
            ("fr-FR, ja;q=0", None),
            ("", None),
            ("*;q=abc,,;", None),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
        assert_eq!(Language::of_locale("ja_JP"), Some(Language::Japanese));
        assert_eq!(Language::of_locale("jav"), None);
    }
}
