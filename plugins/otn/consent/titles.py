"""Titles of request cards, read for what Meta forbids: a reward for opting in, and news that come again and again.

A machine cannot judge a sentence: it points to words. Sources: Meta docs, One-Time Notification (the topic must be the
one that was asked for, no incentives, not for recurring content).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Ground = Literal["incentive", "recurring"]

WHY: dict[Ground, str] = {
    "incentive": "Meta forbids rewards for opting in",
    "recurring": "one opt-in is good for one message, not for messages that come again",
}

# Separated by commas; in the languages of the stop words. A * stands for any ending; words of scripts without spaces
# are found anywhere in the title.
INCENTIVES = (
    # English, German, French, Spanish, Portuguese, Italian
    "discount*, free, freebie*, win, winner*, gift*, giveaway*, coupon*, voucher*, prize*, reward*, bonus*, cash, "
    "cashback, money, promo code*, sweepstake*, raffle*, lottery, "
    "rabatt*, gratis, kostenlos*, gewinn*, geschenk*, gutschein*, preisausschreiben, verlosung*, prämie*, geld, "
    "remise*, réduction*, gratuit*, gagne*, cadeau*, bon d'achat, bons d'achat, concours, récompense*, "
    "descuento*, gana, ganar, ganador*, regalo*, cupón, cupon*, premio*, sorteo*, recompensa*, dinero, "
    "desconto*, grátis, gratuito*, ganhe*, ganhar, brinde*, cupom, cupons, prêmio*, prémio*, "
    "sorteio*, dinheiro, sconto, sconti, gratuita*, vincere, regali, buono, premi, denaro, soldi, concorso, "
    # Dutch, Swedish, Polish, Russian, Turkish
    "korting*, cadeaubon*, kado*, rabatter, vinn, vinner, gåva, gåvor, pengar, "
    "presentkort*, zniżk*, rabaty, rabatu, darmow*, wygraj*, wygran*, prezent, prezenty, nagrod*, pieniądz*, konkurs*, "
    "скидк*, скидок, бесплатн*, выигра*, подар*, купон*, приз, призы, призов, розыгрыш*, деньг*, денег, бонус*, "
    "indirim*, ücretsiz*, bedava*, kazanma*, hediye*, ödül*, çekiliş*, "
    # Indonesian, Vietnamese, Arabic, Hebrew, Hindi
    "diskon*, menang*, hadiah*, kupon*, uang, undian*, giảm giá, miễn phí, quà tặng, trúng thưởng, "
    "خصم, مجانا, مجاني, اربح, هدية, هدايا, قسيمة, كوبون, جائزة, جوائز, مال, "
    "הנחה, חינם, מתנה, מתנות, קופון, פרס, פרסים, זכו, כסף, "
    "छूट, मुफ्त, मुफ़्त, जीतें, उपहार, कूपन, इनाम, पैसे, "
    # Thai, Chinese, Japanese, Korean
    "ส่วนลด, ฟรี, ลุ้นรับ, ของขวัญ, คูปอง, รางวัล, เงินสด, "
    "折扣, 免费, 免費, 赢取, 贏取, 礼物, 禮物, 优惠券, 優惠券, 奖品, 獎品, 抽奖, 抽獎, 现金, 現金, 红包, 紅包, "
    "割引, 無料, 当たる, プレゼント, ギフト, クーポン, 賞品, 賞金, 懸賞, "
    "할인, 무료, 당첨, 선물, 쿠폰, 상품권, 경품, 현금"
)
RECURRINGS = (
    "daily, weekly, monthly, everyday, every day, every week, every month, each day, each week, newsletter*, "
    "subscription*, subscribe, digest, regular updates, täglich*, wöchentlich*, monatlich*, jeden tag, jede woche, "
    "jeden monat, abo, abonnier*, regelmäßig*, rundbrief*, quotidien*, hebdomadaire*, mensuel*, chaque jour, "
    "chaque semaine, chaque mois, tous les jours, toutes les semaines, tous les mois, abonne*, infolettre*, "
    "diario, diaria, diarios, diarias, diariamente, semanal*, mensual*, cada día, cada semana, cada mes, "
    "todos los días, suscri*, boletín, boletines, diário*, diária*, mensal*, todo dia, todos os dias, toda semana, "
    "todo mês, assinatura*, assine, boletim, giornalier*, quotidian*, settimanal*, mensil*, ogni giorno, "
    "ogni settimana, ogni mese, abbona*, dagelijks*, wekelijks*, maandelijks*, elke dag, elke week, elke maand, "
    "nieuwsbrief*, abonnement*, daglig*, varje dag, varje vecka, varje månad, veckobrev*, nyhetsbrev*, prenumer*, "
    "codzienn*, tygodniow*, miesięczn*, co tydzień, co miesiąc, każdego dnia, subskry*, prenumerat*, "
    "ежедневн*, еженедельн*, ежемесячн*, каждый день, каждую неделю, каждый месяц, рассылк*, подписк*, "
    "günlük, haftalık, aylık, her gün, her hafta, her ay, bülten*, abone*, "  # noqa: RUF001 - Turkish
    "harian, mingguan, bulanan, setiap hari, setiap minggu, setiap bulan, langganan, berlangganan, buletin, "
    "hàng ngày, hằng ngày, hàng tuần, hằng tuần, hàng tháng, hằng tháng, mỗi ngày, mỗi tuần, mỗi tháng, bản tin, "
    "يومي, يوميا, أسبوعي, أسبوعيا, شهري, شهريا, كل يوم, كل أسبوع, كل شهر, نشرة, اشتراك, "
    "יומי, שבועי, חודשי, כל יום, כל שבוע, כל חודש, ניוזלטר, מנוי, "
    "दैनिक, साप्ताहिक, मासिक, हर दिन, रोज, हर हफ्ते, हर महीने, न्यूज़लेटर, सदस्यता, "
    "รายวัน, รายสัปดาห์, รายเดือน, ทุกวัน, ทุกสัปดาห์, ทุกเดือน, จดหมายข่าว, สมัครรับ, "
    "每天, 每日, 每周, 每週, 每月, 订阅, 訂閱, 通讯, 電子報, 周报, 週報, 日报, 日報, "
    "毎日, 毎週, 毎月, 日刊, 週刊, メルマガ, ニュースレター, 購読, 定期, "
    "매일, 매주, 매월, 매달, 일간, 주간, 월간, 뉴스레터, 구독, 정기"
)

_SPACELESS = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Finding:
    """A word of a title that Meta may object to.

    Args:
        word: as it stands in the title, or in the list where the script has no spaces.
        ground: what it hints at.
    """

    word: str
    ground: Ground

    @property
    def why(self) -> str:
        """The rule behind it."""
        return WHY[self.ground]


def lint(title: str) -> list[Finding]:
    """Words of a title that Meta may object to, each once; an empty list proves nothing.

    Args:
        title: of a request card.
    """
    found = [Finding(word, ground) for ground, pattern in _PATTERNS.items() for word in _words(pattern, _normal(title))]
    return list(dict.fromkeys(found))


def _words(pattern: re.Pattern[str], title: str) -> Iterator[str]:
    return (unicodedata.normalize("NFC", match.group().strip()) for match in pattern.finditer(title))


def _normal(text: str) -> str:
    """Letters of one width and case, without the marks that people leave out when they type quickly."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(character for character in plain if character not in _MARKS)
    return " ".join(unicodedata.normalize("NFC", bare).replace("\u2019", "'").split())


# Accents, and the dot that Turkish capitals leave behind; not the vowel signs of other scripts, which make the word.
_MARKS = frozenset(map(chr, range(0x300, 0x370)))


def _pattern(words: str) -> re.Pattern[str]:
    listed = dict.fromkeys(_normal(word) for word in words.split(","))
    return re.compile("|".join(map(_expression, sorted(filter(None, listed), key=len, reverse=True))))


def _incentives() -> re.Pattern[str]:
    return re.compile(rf"\d+ ?%|{_pattern(INCENTIVES).pattern}")


def _expression(word: str) -> str:
    if _SPACELESS.search(word):
        return re.escape(word)
    before = r"(?<!\w)" if word[0].isalnum() else ""
    ending = r"\w*" if word.endswith("*") else r"(?!\w)"
    return before + re.escape(word.removesuffix("*")) + ending


_PATTERNS: dict[Ground, re.Pattern[str]] = {"incentive": _incentives(), "recurring": _pattern(RECURRINGS)}
