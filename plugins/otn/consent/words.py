"""Stop and start words by language, and how each language confirms them. Data only."""

# ruff: noqa: RUF001 - letters of all scripts, and none of them stands for another

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """The words of one language, and what is answered to them.

    In the answers, ``{topic}`` is the topic's title, ``{stop}`` and ``{start}`` are words that work.

    Args:
        code: as in a profile's locale, such as ``de``; with a region only where it decides.
        stop: stop words, separated by commas; the first is the one that answers name.
        start: start words likewise.
        stopped: everything was stopped.
        stopped_topic: one topic was.
        started: everything was started again.
        started_topic: one topic was.
    """

    code: str
    stop: str
    start: str
    stopped: str
    stopped_topic: str
    started: str
    started_topic: str


# Whole messages, not words inside one: "please don't stop" is no wish for silence. Where several languages share a
# word, the person's locale decides in which one the answer is written, and after it the order of this table.
LANGUAGES = (
    Language(
        "en",
        "stop, stop all, stopall, unsubscribe, cancel, end, quit, revoke, opt out, optout, opt-out",
        "start, unstop, subscribe",
        "You will get no more messages from us. Write {start} to get them again.",
        "You will get no more messages about “{topic}”. Write {start} {topic} to get them again.",
        "You can get messages from us again. Write {stop} to end them.",
        "You can get messages about “{topic}” again. Write {stop} {topic} to end them.",
    ),
    Language(
        "es",
        "baja, stop, alto, cancelar, detener, parar, basta, darse de baja, dar de baja",
        "alta, iniciar, empezar",
        "No recibirás más mensajes nuestros. Escribe {start} para volver a recibirlos.",
        "No recibirás más mensajes sobre “{topic}”. Escribe {start} {topic} para volver a recibirlos.",
        "Puedes volver a recibir nuestros mensajes. Escribe {stop} para dejar de recibirlos.",
        "Puedes volver a recibir mensajes sobre “{topic}”. Escribe {stop} {topic} para dejar de recibirlos.",
    ),
    Language(
        "pt",
        "parar, sair, cancelar, descadastrar, cancelar inscrição",
        "iniciar, começar",
        "Você não receberá mais mensagens nossas. Escreva {start} para voltar a recebê-las.",
        "Você não receberá mais mensagens sobre “{topic}”. Escreva {start} {topic} para voltar a recebê-las.",
        "Você pode voltar a receber nossas mensagens. Escreva {stop} para não receber mais.",
        "Você pode voltar a receber mensagens sobre “{topic}”. Escreva {stop} {topic} para não receber mais.",
    ),
    Language(
        "fr",
        "arrêt, arret, stop, arrêter, arreter, désabonner, desabonner, se désabonner, stop pub",
        "démarrer, demarrer, reprendre",
        "Vous ne recevrez plus de messages de notre part. Écrivez {start} pour en recevoir à nouveau.",
        "Vous ne recevrez plus de messages sur « {topic} ». Écrivez {start} {topic} pour en recevoir à nouveau.",
        "Vous pouvez de nouveau recevoir nos messages. Écrivez {stop} pour ne plus en recevoir.",
        "Vous pouvez à nouveau recevoir des messages sur « {topic} ». Écrivez {stop} {topic} pour les arrêter.",
    ),
    Language(
        "de",
        "stopp, stop, abmelden, abbestellen, abmeldung",
        "anmelden, start",
        "Du bekommst keine Nachrichten mehr von uns. Schreib {start}, um wieder welche zu bekommen.",
        "Du bekommst keine Nachrichten mehr zu „{topic}“. Schreib {start} {topic}, um wieder welche zu bekommen.",
        "Du kannst wieder Nachrichten von uns bekommen. Schreib {stop}, um keine mehr zu bekommen.",
        "Du kannst wieder Nachrichten zu „{topic}“ bekommen. Schreib {stop} {topic}, um keine mehr zu bekommen.",
    ),
    Language(
        "it",
        "basta, stop, disiscrivi, disiscrivimi, annulla iscrizione",
        "inizia, iscrivimi",
        "Non riceverai più messaggi da noi. Scrivi {start} per riceverli di nuovo.",
        "Non riceverai più messaggi su “{topic}”. Scrivi {start} {topic} per riceverli di nuovo.",
        "Puoi ricevere di nuovo i nostri messaggi. Scrivi {stop} per non riceverli più.",
        "Puoi ricevere di nuovo messaggi su “{topic}”. Scrivi {stop} {topic} per non riceverli più.",
    ),
    Language(
        "nl",
        "stop, afmelden, uitschrijven",
        "aanmelden, start",
        "Je krijgt geen berichten meer van ons. Stuur {start} om ze weer te krijgen.",
        "Je krijgt geen berichten meer over “{topic}”. Stuur {start} {topic} om ze weer te krijgen.",
        "Je kunt weer berichten van ons krijgen. Stuur {stop} om ze niet meer te krijgen.",
        "Je kunt weer berichten over “{topic}” krijgen. Stuur {stop} {topic} om ze niet meer te krijgen.",
    ),
    Language(
        "sv",
        "avsluta, stopp, avregistrera, sluta",
        "starta",
        "Du får inga fler meddelanden från oss. Skriv {start} för att få dem igen.",
        "Du får inga fler meddelanden om ”{topic}”. Skriv {start} {topic} för att få dem igen.",
        "Du kan få meddelanden från oss igen. Skriv {stop} för att slippa dem.",
        "Du kan få meddelanden om ”{topic}” igen. Skriv {stop} {topic} för att slippa dem.",
    ),
    Language(
        "da",
        "afmeld, stop, frameld",
        "tilmeld, start",
        "Du får ikke flere beskeder fra os. Skriv {start} for at få dem igen.",
        "Du får ikke flere beskeder om ”{topic}”. Skriv {start} {topic} for at få dem igen.",
        "Du kan få beskeder fra os igen. Skriv {stop} for ikke at få flere.",
        "Du kan få beskeder om ”{topic}” igen. Skriv {stop} {topic} for ikke at få flere.",
    ),
    Language(
        "nb",
        "stopp, avmeld, avslutt, meld av",
        "start, meld på",
        "Du får ingen flere meldinger fra oss. Skriv {start} for å få dem igjen.",
        "Du får ingen flere meldinger om «{topic}». Skriv {start} {topic} for å få dem igjen.",
        "Du kan få meldinger fra oss igjen. Skriv {stop} for ikke å få flere.",
        "Du kan få meldinger om «{topic}» igjen. Skriv {stop} {topic} for ikke å få flere.",
    ),
    Language(
        "fi",
        "lopeta, peruuta",
        "aloita",
        "Et saa meiltä enää viestejä. Kirjoita {start}, jos haluat niitä taas.",
        "Et saa enää viestejä aiheesta ”{topic}”. Kirjoita {start} {topic}, jos haluat niitä taas.",
        "Voit taas saada meiltä viestejä. Kirjoita {stop}, jos et halua niitä.",
        "Voit taas saada viestejä aiheesta ”{topic}”. Kirjoita {stop} {topic}, jos et halua niitä.",
    ),
    Language(
        "pl",
        "stop, rezygnuję, rezygnuje, wypisz, wypisz mnie",
        "start, zapisz mnie",
        "Nie dostaniesz już od nas wiadomości. Napisz {start}, aby znów je dostawać.",
        "Nie dostaniesz już wiadomości na temat „{topic}”. Napisz {start} {topic}, aby znów je dostawać.",
        "Możesz znów dostawać od nas wiadomości. Napisz {stop}, aby ich nie dostawać.",
        "Możesz znów dostawać wiadomości na temat „{topic}”. Napisz {stop} {topic}, aby ich nie dostawać.",
    ),
    Language(
        "cs",
        "odhlásit, odhlasit, zrušit, stop, konec",
        "přihlásit, prihlasit, start",
        "Už od nás nedostanete žádné zprávy. Napište {start}, pokud je chcete znovu.",
        "Už nedostanete žádné zprávy na téma „{topic}“. Napište {start} {topic}, pokud je chcete znovu.",
        "Můžete od nás znovu dostávat zprávy. Napište {stop}, pokud je nechcete.",
        "Můžete znovu dostávat zprávy na téma „{topic}“. Napište {stop} {topic}, pokud je nechcete.",
    ),
    Language(
        "hu",
        "leiratkozás, leiratkozas, leiratkozom, állj, stop",
        "feliratkozás, feliratkozom, start",
        "Nem kap tőlünk több üzenetet. Írja be: {start}, ha újra szeretne.",
        "Nem kap több üzenetet erről: „{topic}”. Írja be: {start} {topic}, ha újra szeretne.",
        "Újra kaphat tőlünk üzeneteket. Írja be: {stop}, ha nem szeretne többet.",
        "Újra kaphat üzeneteket erről: „{topic}”. Írja be: {stop} {topic}, ha nem szeretne többet.",
    ),
    Language(
        "ro",
        "dezabonare, stop, oprește, opreste, renunț",
        "abonare, start",
        "Nu vei mai primi mesaje de la noi. Scrie {start} ca să le primești din nou.",
        "Nu vei mai primi mesaje despre „{topic}”. Scrie {start} {topic} ca să le primești din nou.",
        "Poți primi din nou mesaje de la noi. Scrie {stop} ca să nu le mai primești.",
        "Poți primi din nou mesaje despre „{topic}”. Scrie {stop} {topic} ca să nu le mai primești.",
    ),
    Language(
        "el",
        "διακοπή, διακοπη, στοπ, διαγραφή, διαγραφη",
        "έναρξη, εναρξη",
        "Δεν θα λαμβάνετε άλλα μηνύματα από εμάς. Γράψτε {start} για να τα λαμβάνετε ξανά.",
        "Δεν θα λαμβάνετε άλλα μηνύματα για «{topic}». Γράψτε {start} {topic} για να τα λαμβάνετε ξανά.",
        "Μπορείτε να λαμβάνετε ξανά μηνύματα από εμάς. Γράψτε {stop} για να σταματήσουν.",
        "Μπορείτε να λαμβάνετε ξανά μηνύματα για «{topic}». Γράψτε {stop} {topic} για να σταματήσουν.",
    ),
    Language(
        "ru",
        "стоп, отписаться, отписка, отмена",
        "старт, начать, подписаться",
        "Вы больше не будете получать от нас сообщения. Напишите {start}, чтобы получать их снова.",
        "Вы больше не будете получать сообщения на тему «{topic}». Напишите {start} {topic}, чтобы получать их снова.",
        "Вы снова можете получать от нас сообщения. Напишите {stop}, чтобы их не получать.",
        "Вы снова можете получать сообщения на тему «{topic}». Напишите {stop} {topic}, чтобы их не получать.",
    ),
    Language(
        "uk",
        "стоп, відписатися, відписатись, скасувати",
        "старт, підписатися, почати",
        "Ви більше не отримуватимете від нас повідомлень. Напишіть {start}, щоб отримувати їх знову.",
        "Ви більше не отримуватимете повідомлень на тему «{topic}». Напишіть {start} {topic}, щоб отримувати їх знову.",
        "Ви знову можете отримувати від нас повідомлення. Напишіть {stop}, щоб їх не отримувати.",
        "Ви знову можете отримувати повідомлення на тему «{topic}». Напишіть {stop} {topic}, щоб їх не отримувати.",
    ),
    Language(
        "tr",
        "dur, durdur, iptal, ret, abonelikten çık",
        "başla, başlat",
        "Bizden artık mesaj almayacaksınız. Yeniden almak için {start} yazın.",
        "“{topic}” hakkında artık mesaj almayacaksınız. Yeniden almak için {start} {topic} yazın.",
        "Bizden yeniden mesaj alabilirsiniz. Almamak için {stop} yazın.",
        "“{topic}” hakkında yeniden mesaj alabilirsiniz. Almamak için {stop} {topic} yazın.",
    ),
    Language(
        "id",
        "berhenti, stop, batal",
        "mulai",
        "Anda tidak akan menerima pesan lagi dari kami. Tulis {start} untuk menerimanya lagi.",
        "Anda tidak akan menerima pesan lagi tentang “{topic}”. Tulis {start} {topic} untuk menerimanya lagi.",
        "Anda dapat menerima pesan dari kami lagi. Tulis {stop} untuk menghentikannya.",
        "Anda dapat menerima pesan tentang “{topic}” lagi. Tulis {stop} {topic} untuk menghentikannya.",
    ),
    Language(
        "ms",
        "berhenti, henti, batal",
        "mula",
        "Anda tidak akan menerima mesej lagi daripada kami. Tulis {start} untuk menerimanya semula.",
        "Anda tidak akan menerima mesej lagi tentang “{topic}”. Tulis {start} {topic} untuk menerimanya semula.",
        "Anda boleh menerima mesej daripada kami semula. Tulis {stop} untuk menghentikannya.",
        "Anda boleh menerima mesej tentang “{topic}” semula. Tulis {stop} {topic} untuk menghentikannya.",
    ),
    Language(
        "tl",
        "itigil, ihinto, tigil, stop",
        "simulan, start",
        "Hindi ka na makakatanggap ng mensahe mula sa amin. Isulat ang {start} para makatanggap muli.",
        "Hindi ka na makakatanggap ng mensahe tungkol sa “{topic}”. Isulat ang {start} {topic} para makatanggap muli.",
        "Makakatanggap ka na muli ng mensahe mula sa amin. Isulat ang {stop} para itigil ito.",
        "Makakatanggap ka na muli ng mensahe tungkol sa “{topic}”. Isulat ang {stop} {topic} para itigil ito.",
    ),
    Language(
        "vi",
        "dừng, dừng lại, hủy, huỷ, hủy đăng ký, ngừng",
        "bắt đầu, đăng ký",
        "Bạn sẽ không nhận tin nhắn từ chúng tôi nữa. Hãy viết {start} để nhận lại.",
        "Bạn sẽ không nhận tin nhắn về “{topic}” nữa. Hãy viết {start} {topic} để nhận lại.",
        "Bạn có thể nhận lại tin nhắn từ chúng tôi. Hãy viết {stop} để ngừng nhận.",
        "Bạn có thể nhận lại tin nhắn về “{topic}”. Hãy viết {stop} {topic} để ngừng nhận.",
    ),
    Language(
        "th",
        "หยุด, ยกเลิก, เลิกรับ",
        "เริ่ม, สมัคร",
        "คุณจะไม่ได้รับข้อความจากเราอีก พิมพ์ {start} เพื่อรับอีกครั้ง",
        "คุณจะไม่ได้รับข้อความเรื่อง “{topic}” อีก พิมพ์ {start} {topic} เพื่อรับอีกครั้ง",
        "คุณรับข้อความจากเราได้อีกครั้งแล้ว พิมพ์ {stop} เพื่อหยุดรับ",
        "คุณรับข้อความเรื่อง “{topic}” ได้อีกครั้งแล้ว พิมพ์ {stop} {topic} เพื่อหยุดรับ",
    ),
    Language(
        "ar",
        "توقف, إيقاف, ايقاف, إلغاء, الغاء, إلغاء الاشتراك, الغاء الاشتراك",
        "ابدأ, ابدا, اشتراك",
        "لن تصلك رسائل منا بعد الآن. اكتب {start} لتصلك من جديد.",
        "لن تصلك رسائل عن «{topic}» بعد الآن. اكتب {start} {topic} لتصلك من جديد.",
        "يمكن أن تصلك رسائلنا من جديد. اكتب {stop} لإيقافها.",
        "يمكن أن تصلك رسائل عن «{topic}» من جديد. اكتب {stop} {topic} لإيقافها.",
    ),
    Language(
        "he",
        "עצור, הסר, הפסק",
        "התחל, הרשמה",
        "לא תקבלו מאיתנו הודעות נוספות. כתבו {start} כדי לקבל אותן שוב.",
        "לא תקבלו הודעות נוספות בנושא “{topic}”. כתבו {start} {topic} כדי לקבל אותן שוב.",
        "אפשר שוב לקבל מאיתנו הודעות. כתבו {stop} כדי להפסיק.",
        "אפשר שוב לקבל הודעות בנושא “{topic}”. כתבו {stop} {topic} כדי להפסיק.",
    ),
    Language(
        "hi",
        "रोकें, बंद, बंद करो, बंद करें, बन्द",
        "शुरू, शुरू करें, शुरू करो",
        "अब आपको हमारे संदेश नहीं मिलेंगे। फिर से पाने के लिए {start} लिखें।",
        "अब आपको “{topic}” के बारे में संदेश नहीं मिलेंगे। फिर से पाने के लिए {start} {topic} लिखें।",
        "अब आपको हमारे संदेश फिर से मिल सकते हैं। बंद करने के लिए {stop} लिखें।",
        "अब आपको “{topic}” के बारे में संदेश फिर से मिल सकते हैं। बंद करने के लिए {stop} {topic} लिखें।",
    ),
    Language(
        "bn",
        "বন্ধ, বন্ধ করুন, থামুন, থামান",
        "শুরু, শুরু করুন, চালু",
        "আপনি আমাদের কাছ থেকে আর বার্তা পাবেন না। আবার পেতে {start} লিখুন।",
        "আপনি “{topic}” সম্পর্কে আর বার্তা পাবেন না। আবার পেতে {start} {topic} লিখুন।",
        "আপনি আবার আমাদের বার্তা পেতে পারেন। বন্ধ করতে {stop} লিখুন।",
        "আপনি আবার “{topic}” সম্পর্কে বার্তা পেতে পারেন। বন্ধ করতে {stop} {topic} লিখুন।",
    ),
    Language(
        "ur",
        "بند, بند کریں, روکیں",
        "شروع, شروع کریں",
        "اب آپ کو ہمارے پیغامات نہیں ملیں گے۔ دوبارہ پانے کے لیے {start} لکھیں۔",
        "اب آپ کو “{topic}” کے بارے میں پیغامات نہیں ملیں گے۔ دوبارہ پانے کے لیے {start} {topic} لکھیں۔",
        "آپ کو ہمارے پیغامات دوبارہ مل سکتے ہیں۔ بند کرنے کے لیے {stop} لکھیں۔",
        "آپ کو “{topic}” کے بارے میں پیغامات دوبارہ مل سکتے ہیں۔ بند کرنے کے لیے {stop} {topic} لکھیں۔",
    ),
    Language(
        "zh",
        "退订, 停止, 取消, 取消订阅, 中止",
        "开始, 订阅",
        "您将不再收到我们的消息。回复 {start} 可重新接收。",
        "您将不再收到关于“{topic}”的消息。回复 {start} {topic} 可重新接收。",
        "您可以重新收到我们的消息。回复 {stop} 可停止接收。",
        "您可以重新收到关于“{topic}”的消息。回复 {stop} {topic} 可停止接收。",
    ),
    Language(
        "zh_TW",
        "退訂, 停止, 取消, 取消訂閱",
        "開始, 訂閱",
        "您將不再收到我們的訊息。回覆 {start} 即可重新接收。",
        "您將不再收到關於「{topic}」的訊息。回覆 {start} {topic} 即可重新接收。",
        "您可以重新收到我們的訊息。回覆 {stop} 即可停止接收。",
        "您可以重新收到關於「{topic}」的訊息。回覆 {stop} {topic} 即可停止接收。",
    ),
    Language(
        "ja",
        "停止, 配信停止, 中止, 解除, 登録解除, ストップ, 取消",
        "再開, 開始, 配信再開, スタート",
        "今後、当ページからのメッセージは届きません。再開するには「{start}」と送信してください。",
        "今後、「{topic}」に関するメッセージは届きません。再開するには「{start} {topic}」と送信してください。",
        "当ページからのメッセージを再び受け取れます。停止するには「{stop}」と送信してください。",
        "「{topic}」に関するメッセージを再び受け取れます。停止するには「{stop} {topic}」と送信してください。",
    ),
    Language(
        "ko",
        "중지, 수신거부, 수신 거부, 그만, 구독취소",
        "시작, 구독",
        "더 이상 메시지를 보내지 않습니다. 다시 받으려면 {start}이라고 보내 주세요.",
        "“{topic}” 관련 메시지를 더 이상 보내지 않습니다. 다시 받으려면 ‘{start} {topic}’이라고 보내 주세요.",
        "다시 메시지를 받으실 수 있습니다. 그만 받으려면 {stop}라고 보내 주세요.",
        "“{topic}” 관련 메시지를 다시 받으실 수 있습니다. 그만 받으려면 ‘{stop} {topic}’라고 보내 주세요.",
    ),
)
