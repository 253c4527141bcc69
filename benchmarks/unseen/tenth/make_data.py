#!/usr/bin/env python3
"""Create every local file that the recipes name, below argv[1] (or the working directory). Deterministic."""

import csv
import json
import random
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# A domain: questions, answers that use the same slots, further sentences, and short poor answers.
D = {}

D["bees"] = dict(
    slots=dict(n=range(2, 41), m="April,May,June,July,August,September".split(","),
               w="a nectar flow,a cold week,heavy rain,a late frost,a heatwave,a swarm next door,a move to a new meadow".split(","),
               h="a Langstroth hive,a Warré hive,a top-bar hive,a National hive,a Dadant hive,a nucleus box".split(",")),
    q=["I keep {n} colonies in {h}. What should I check in {m} after {w}?",
       "After {w} in {m}, my {n} frames of brood in {h} look patchy. Is that normal?",
       "How often do I open {h} with {n} frames in {m} if there was {w}?",
       "Can I split a colony in {h} with {n} seams of bees in {m}, just after {w}?"],
    a=["With {n} to look after, begin with the stores: lift the back of {h} and judge its weight before you open it.",
       "In {m}, {w} often interrupts the laying for a few days, so look for eggs before you suspect the queen.",
       "One inspection every seven to nine days is enough for {h} in {m}; {w} is a reason to wait for a warm noon.",
       "Yes, if you see drones flying. Give each half eggs, stores and young bees, and keep {h} at the old place."],
    x=["Write down what you saw, because memory mixes hives up.", "A varroa wash of half a cup of bees tells you more than a glance at the board.",
       "Close the entrance to two fingers if you see robbing.", "Wet frames go to the top, with the crown board open.",
       "Capped brood that is sunken or greasy needs a call to the bee inspector.", "Sugar syrup is of no use below ten degrees.",
       "Leave the smoker lit but far from the dry grass.", "A frame of eggs from a strong neighbour is the simplest test for a queen.",
       "Count seams, not bees.", "If in doubt, close up and look again in a week."],
    bad=["Bees know best, leave them.", "Just add sugar.", "You should ask somebody else about {h}.", "It is always like that in {m}, nothing can be done about it and nobody knows why."])

D["allotment"] = dict(
    slots=dict(v="leeks,broad beans,kale,beetroot,parsnips,courgettes,garlic,runner beans,chard,celeriac,shallots,peas".split(","),
               s="clay,sand,chalky loam,peat,stony silt".split(","), n=range(3, 40),
               p="slugs,pigeons,aphids,flea beetles,rust,blackfly,wireworms".split(",")),
    q=["My plot has {s} soil and {n} square metres for {v}. How do I keep {p} away?",
       "I sowed {v} {n} days ago in {s} soil and see {p}. Should I start again?",
       "What grows well after {v} in {s} soil if last year had {p} in {n} rows?",
       "How much compost do {n} plants of {v} need in {s}, and does it attract {p}?"],
    a=["On {s}, raise the bed a little, space the {v} wider than the packet says, and net it before {p} find it.",
       "Wait another week: {v} in {s} can take longer than {n} days, and most seedlings outgrow {p}.",
       "Follow {v} with a crop of another family, so that {p} find nothing to eat in those {n} rows.",
       "A bucket for each square metre is enough for {v}; {p} come for soft growth, not for compost."],
    x=["Water in the morning.", "A collar of cardboard helps in the first month.", "Hoe on a dry day and leave the weeds to wilt.",
       "Mulch once the soil is warm.", "Neighbours often have spare plants in June.", "Do not dig when the soil sticks to your boots.",
       "Pick often and the plant will go on.", "A pond the size of a washing-up bowl brings frogs.", "Save seed only from plants that did not bolt."],
    bad=["Use more water.", "{v} never grow in {s}.", "I do not know anything about {p}.", "Gardening is a matter of luck, so whatever you do with {v} is as good as anything else you could think of."])

D["chess"] = dict(
    slots=dict(o="the Caro-Kann,the London System,the Najdorf,the Scotch Game,the Slav,the French Advance,the King's Indian,the Ruy Lopez".split(","),
               n=range(8, 45), k="a rook ending,an isolated pawn,opposite-side castling,a bad bishop,the bishop pair,a knight on d5,an open c-file".split(","),
               e="1100,1250,1400,1550,1700,1850,2000".split(",")),
    q=["I am rated {e} and lost with {o} on move {n} because of {k}. What should I study?",
       "In {o} I often reach {k} around move {n}. How does a {e} player handle it?",
       "Is {o} a good choice at {e} if I dislike {k}? My games last about {n} moves."],
    a=["At {e}, study model games of {o} that reach {k}, and stop at move {n} to write down a plan before you read on.",
       "With {k}, first improve the worst piece; {o} gives you time for that until about move {n}.",
       "{o} is sound at {e}. You will meet {k} in any opening, so learn three typical plans instead of more theory after move {n}."],
    x=["Check every forcing move first.", "Play the position from both sides with a friend.", "A half-open file is worth more with rooks behind it.",
       "Keep the tension until a trade helps you.", "Annotate your own losses before the engine does.", "Ten minutes of endings a day is plenty.",
       "Prophylaxis costs one tempo and saves a piece.", "Count defenders, then attackers."],
    bad=["Play something else.", "Memorise thirty moves of {o}.", "{k} always loses.", "At {e} it does not matter at all what you do, because games are decided by blunders and by nothing else."])

D["radio"] = dict(
    slots=dict(b="80 m,40 m,30 m,20 m,17 m,15 m,10 m,2 m".split(","), n=range(2, 60),
               a="an end-fed half wave,a dipole,a small loop,a vertical,a delta loop,a Yagi".split(","),
               m="FT8,CW,SSB,PSK31,APRS".split(",")),
    q=["I use {a} on {b} with {n} watts in {m}. Why are the reports so weak?",
       "Which height does {a} need on {b} for {m} with {n} W?",
       "My SWR on {b} is high with {a}; I run {n} watts of {m}. Where do I look first?"],
    a=["With {n} watts on {b}, {m} depends on the time of day more than on the power; try {a} at dusk and compare.",
       "A half wavelength is the ideal for {a} on {b}, but {m} at {n} W works well from a quarter of it.",
       "Check the feed line before {a}: a bad connector on {b} looks like a bad aerial, and {n} watts of {m} will heat it."],
    x=["A common-mode choke at the feed point quietens the receiver.", "Log the noise floor each evening.", "Switching supplies are the usual suspects.",
       "Lower the audio drive until the ALC stands still.", "Wood is dry only in August.", "Radials on the ground need not be resonant.",
       "Borrow an analyser from the club.", "Reverse beacons tell you who heard you."],
    bad=["Buy an amplifier.", "{b} is dead.", "Aerials like {a} do not work.", "Radio is mostly a question of luck and of weather in space, so I would not change anything about it."])

D["hut_de"] = dict(
    slots=dict(h="Brunnsteinhütte,Gamsalm,Lärchenhaus,Seekarhütte,Rotwandhaus,Sulzkarhütte".split(","), n=range(2, 30),
               t="Montag,Dienstag,Mittwoch,Donnerstag,Freitag,Samstag,Sonntag".split(","),
               w="Neuschnee,Gewitter,Nebel,Föhn,Dauerregen,Hitze".split(",")),
    q=["Wir sind {n} Personen und möchten am {t} auf die {h}. Was tun wir bei {w}?",
       "Ist der Weg zur {h} am {t} bei {w} für eine Gruppe von {n} Leuten zu machen?",
       "Gibt es am {t} auf der {h} noch {n} Lager, und wie kommen wir bei {w} hinauf?"],
    a=["Für {n} Personen bitte bis zum Vorabend anrufen. Bei {w} nehmt ihr am {t} besser den Forstweg zur {h}.",
       "Der Steig zur {h} ist bei {w} rutschig; am {t} geht der Wirt um sieben voraus und markiert ihn für {n} Leute.",
       "Am {t} sind auf der {h} meist noch Lager frei. Bei {w} rechnet für {n} Leute eine Stunde mehr ein."],
    x=["Hüttenschlafsack nicht vergessen.", "Bargeld mitnehmen, oben gibt es kein Netz.", "Der letzte Bus fährt um 17:40 Uhr.",
       "Hunde nur nach Absprache.", "Wer umkehrt, meldet sich bitte ab.", "Stöcke helfen beim Abstieg.", "Wasser gibt es am Brunnen vor der Materialseilbahn.",
       "Stirnlampe gehört auch im Sommer in den Rucksack."],
    bad=["Weiß ich nicht.", "Am {t} ist sicher schön.", "Geht einfach los.", "Bei {w} kann man nie etwas sagen, das hängt von so vielen Dingen ab, dass jede Auskunft falsch wäre."])

D["miete_de"] = dict(
    slots=dict(s="Köln,Leipzig,Bremen,Graz,Ulm,Kassel,Rostock".split(","), n=range(35, 140),
               g="Schimmel im Bad,eine defekte Heizung,Baulärm im Haus,ein undichtes Fenster,eine falsche Nebenkostenabrechnung,ein gesperrter Keller".split(","),
               d="zwei Wochen,einem Monat,drei Monaten,einem halben Jahr".split(",")),
    q=["Formuliere einen Brief an die Hausverwaltung in {s}: {g} seit {d}, Wohnung mit {n} m².",
       "Erkläre in einfacher Sprache, was man bei einer Wohnung mit {n} m² in {s} tut, wenn es seit {d} um {g} geht.",
       "Fasse den Fall zusammen: {g}, {n} m², {s}, bekannt seit {d}."],
    a=["Sehr geehrte Damen und Herren, seit {d} besteht in meiner Wohnung ({n} m², {s}) folgender Mangel: {g}. Ich bitte um Abhilfe binnen vierzehn Tagen.",
       "Melden Sie den Mangel schriftlich, mit Fotos und Datum. Seit {d} ist er bekannt: {g}. Erst danach lohnt ein Gespräch beim Mieterverein in {s}; die {n} m² spielen nur für die Höhe eine Rolle.",
       "In {s} wird seit {d} über eine Wohnung von {n} m² gestritten. Anlass: {g}."],
    x=["Heben Sie eine Kopie auf.", "Ein Protokoll mit Uhrzeiten hilft später.", "Eine Frist ohne Datum ist keine.", "Zahlen Sie bis zur Klärung unter Vorbehalt.",
       "Zeugen nennt man mit Namen.", "Ein Anruf allein genügt nicht.", "Freundliche Grüße stehen auch unter strengen Briefen."],
    bad=["Das ist schwierig.", "Ziehen Sie aus.", "In {s} ist das eben so.", "Man kann da wenig machen, denn am Ende entscheidet immer jemand anders und meistens dauert es sehr lange."])

D["bakery_fr"] = dict(
    slots=dict(p="baguettes,croissants,brioches,pains de seigle,éclairs,chouquettes,fougasses".split(","), n=range(4, 80),
               j="lundi,mardi,mercredi,jeudi,vendredi,samedi".split(","), h="six heures,sept heures,huit heures,midi,seize heures".split(",")),
    q=["Bonjour, je voudrais {n} {p} pour {j} à {h}. C'est possible ?",
       "Jusqu'à quand peut-on commander {n} {p} pour {j}, {h} ?",
       "Avez-vous encore des {p} le {j} vers {h} ? Il m'en faut {n}."],
    a=["Bonjour ! Oui, {n} {p} seront prêts {j} à {h}. À quel nom dois-je noter la commande ?",
       "Pour {n} {p}, il faut commander la veille avant dix-sept heures ; nous livrons {j} dès {h}.",
       "Le {j} vers {h}, il en reste souvent, mais pour {n} {p} je vous conseille de réserver."],
    x=["Le levain repose toute la nuit.", "Nous acceptons les tickets restaurant.", "La boutique est fermée le dimanche après-midi.",
       "Apportez votre sac, on vous offre un petit pain.", "Les allergènes sont affichés près de la caisse.", "Le four du fond est réservé aux pâtes feuilletées.",
       "Prévenez-nous si l'heure change.", "Il y a une réduction à partir de trente pièces."],
    bad=["Non.", "Je ne sais pas pour {j}.", "Revenez plus tard.", "On verra bien ce qu'il reste {j}, car chez nous tout dépend des clients, du temps et de l'humeur du four."])

D["museum_es"] = dict(
    slots=dict(s="cerámica,grabado,relojes,mapas antiguos,marionetas,instrumentos,fósiles".split(","), n=range(3, 60),
               d="martes,miércoles,jueves,viernes,sábado,domingo".split(","), e="escolares,jubilados,estudiantes de arte,familias,turistas".split(",")),
    q=["¿Puede venir un grupo de {n} {e} a la sala de {s} el {d}?",
       "¿Cuánto dura la visita de {s} para {n} {e} un {d}?",
       "Somos {n} {e} y llegamos el {d} por la tarde. ¿Estará abierta la sala de {s}?"],
    a=["Sí. Para {n} {e} abrimos la sala de {s} el {d} a las diez, con guía y sin recargo.",
       "La visita de {s} dura unos cincuenta minutos; con {n} {e} la dividimos en dos turnos el {d}.",
       "El {d} por la tarde la sala de {s} cierra a las siete, así que {n} {e} tienen tiempo de sobra."],
    x=["Las fotos se permiten sin flash.", "Hay taquillas junto a la entrada.", "El ascensor llega a todas las plantas.", "La tienda vende el catálogo a mitad de precio.",
       "Se ruega no comer en las salas.", "Los lunes el museo descansa.", "Pueden reservar por correo hasta la víspera.", "El taller final es gratuito."],
    bad=["No.", "Ese {d} no sé.", "Pregunten otro día.", "La sala de {s} es como todas las demás salas y la verdad es que no hay mucho que decir de ella."])

D["opera_it"] = dict(
    slots=dict(o="Tosca,Rigoletto,Norma,Falstaff,La traviata,Don Pasquale,Turandot".split(","), n=range(2, 30),
               c="Parma,Verona,Bari,Torino,Palermo,Trieste,Bergamo".split(","), p="platea,loggione,secondo ordine,galleria".split(",")),
    q=["Scrivi una risposta a chi chiede {n} biglietti di {p} per {o} a {c}.",
       "Riassumi in due frasi la trama di {o} per {n} spettatori in {p} a {c}.",
       "Spiega perché {o} a {c} si ascolta bene anche da {p}, fila {n}."],
    a=["Gentile spettatore, per {o} a {c} restano posti in {p}; per {n} biglietti le chiediamo di confermare entro venerdì.",
       "In {o} l'amore e il potere si scontrano fino all'ultimo atto. A {c} lo spettacolo dura circa tre ore, e i {n} spettatori in {p} avranno i sopratitoli.",
       "Il teatro di {c} ha una volta di legno che porta le voci fino in {p}: anche dalla fila {n}, {o} si sente senza fatica."],
    x=["La sala apre un'ora prima.", "I ritardatari entrano al primo intervallo.", "Il guardaroba è gratuito.", "I minori di ventisei anni pagano la metà.",
       "Il libretto è in vendita al bar.", "L'orchestra suona con strumenti moderni.", "La regia è quella del 1994.", "Dopo la recita parte un autobus per la stazione."],
    bad=["Non so.", "A {c} è tutto esaurito, forse.", "{o} è lunga.", "Ogni opera è un po' come tutte le altre opere, dunque quale si veda e da dove la si veda importa davvero poco."])

D["trains_pl"] = dict(
    slots=dict(c="Gdańsk,Lublin,Kraków,Szczecin,Białystok,Opole,Rzeszów,Toruń".split(","), n=range(3, 55),
               k="bilet,rower,miejscówkę,przesiadkę,bagaż,wózek".split(","), d="poniedziałek,wtorek,środę,czwartek,piątek,sobotę".split(",")),
    q=["Pociąg do stacji {c} ma {n} minut opóźnienia. Co z moim zgłoszeniem na {k} w {d}?",
       "Jak zmienić {k} na {d}, jeśli jadę do stacji {c} wagonem {n}?",
       "Czy w {d} mogę kupić {k} do stacji {c} na {n} minut przed odjazdem?"],
    a=["Przy opóźnieniu {n} minut wystarczy pokazać konduktorowi {k}; w {d} do stacji {c} jedzie też następny pociąg bez dopłaty.",
       "Zmianę na {d} zrobi kasa albo aplikacja, najpóźniej godzinę przed odjazdem. {k} do stacji {c} proszę mieć pod ręką, wagon {n} zostaje ten sam.",
       "Tak, w {d} kasa na dworcu sprzedaje {k} do stacji {c} jeszcze na {n} minut przed odjazdem, jeśli są wolne miejsca."],
    x=["Paragon warto zachować.", "Reklamację składa się w ciągu roku.", "Peron zmienia się czasem w ostatniej chwili.", "Wagon z rowerami jest na końcu składu.",
       "Ulgę trzeba udokumentować w pociągu.", "Poczekalnia jest otwarta całą dobę.", "Automat przyjmuje też banknoty.", "Zniżki nie łączą się ze sobą."],
    bad=["Nie wiem.", "Trzeba czekać.", "W {d} to nie działa.", "Z koleją bywa różnie i naprawdę trudno powiedzieć cokolwiek pewnego o tym, co się wydarzy, więc proszę próbować."])

D["ferry_sv"] = dict(
    slots=dict(o="Vaxholm,Sandhamn,Utö,Möja,Grinda,Landsort,Finnhamn".split(","), n=range(2, 48),
               v="storm,dimma,is,högvatten,stark sydväst,åska".split(","), b="cyklar,kajaker,barnvagnar,hundar,lastkärror".split(",")),
    q=["Går färjan till {o} i dag trots {v}? Vi har {n} {b} med oss.", "Hur tidigt ska vi vara vid bryggan för {o} med {n} {b} vid {v}?",
       "Vad kostar det att ta {n} {b} till {o}, och vad händer vid {v}?"],
    a=["Ja, turen till {o} går som vanligt, men vid {v} tar vi högst {n} {b} i taget på akterdäck.",
       "Kom tjugo minuter före avgång. Vid {v} lastar vi {b} först, och {n} stycken till {o} kräver lite tid.",
       "Till {o} kostar det fyrtio kronor styck, alltså räknar ni {n} gånger fyrtio för {b}. Vid {v} får ni pengarna tillbaka om turen ställs in."],
    x=["Kiosken stänger efter midsommar.", "Biljetten gäller hela dagen.", "Håll i räcket när vi svänger.", "Sista båten går halv nio.",
       "Toaletten ligger under trappan.", "Ropa till besättningen om någon mår illa.", "Tidtabellen på bryggan är den som gäller."],
    bad=["Kanske.", "Vet inte.", "{o} är långt bort.", "Med båtar vet man ju aldrig hur det blir, och egentligen kunde det lika gärna bli på något helt annat sätt."])

D["ceramics_tr"] = dict(
    slots=dict(p="vazo,çini tabak,testi,fincan,saksı,kâse,sürahi".split(","), n=range(900, 1260, 10), s="turkuaz,şeffaf,beyaz,kobalt,bal rengi,mat siyah".split(","),
               k="çatlıyor,kabarıyor,akıyor,matlaşıyor,iğne deliği yapıyor".split(",")),
    q=["{n} derecede pişirdiğim {p} üzerindeki {s} sır {k}. Neden?", "{s} sır ile {p} için {n} derece uygun mu? Geçen sefer {k}.",
       "Bir {p} yaptım, {s} sır sürdüm; {n} derecede {k}. Ne değiştirmeliyim?"],
    a=["Büyük olasılıkla sır kalın sürülmüş. {p} için {s} sırı ince iki kat uygulayın ve {n} dereceye daha yavaş çıkın; yine {k} ise bisküvi pişirimini uzatın.",
       "{n} derece çoğu {s} sır için uygundur, ama {p} kurumadan fırına girerse sır {k}.",
       "Önce küçük bir deneme parçası pişirin. {s} sır {n} derecede {k} diyorsanız, {p} için yirmi derece aşağı inin."],
    x=["Fırını gece açmayın.", "Her denemeyi deftere yazın.", "Çamur ile sırın genleşmesi uyumlu olmalı.", "Tozu nemli süngerle alın.", "Koni, göstergeden daha güvenilirdir.",
       "Soğumayı beklemek sabır ister.", "Maske takmayı unutmayın.", "Suyun kireci de sonucu değiştirir."],
    bad=["Bilmiyorum.", "Başka sır alın.", "{p} zordur.", "Seramikte her şey biraz şansa bağlıdır, bu yüzden ne yaparsanız yapın sonuç önceden kesin olarak söylenemez."])

D["farm_sw"] = dict(
    slots=dict(z="mahindi,mihogo,maharage,kahawa,ndizi,viazi vitamu,mtama".split(","), n=range(2, 40), w="viwavi,panya,ukungu,ukame,mvua nyingi,ndege".split(","),
               m="Machi,Aprili,Mei,Oktoba,Novemba".split(",")),
    q=["Nina ekari {n} za {z} na kuna {w} mwezi wa {m}. Nifanye nini?", "Je, ni vizuri kupanda {z} mwezi wa {m} kwenye ekari {n} wakati kuna {w}?",
       "Ninawezaje kulinda {z} dhidi ya {w} mwezi wa {m}? Shamba ni ekari {n}."],
    a=["Kagua {z} asubuhi mapema. Kwa ekari {n}, anza na sehemu iliyoathirika na {w}, kisha andika ulichoona mwezi wa {m}.",
       "Ndiyo, mwezi wa {m} unafaa kwa {z}, lakini ukiwa na {w} panda nusu ya ekari {n} kwanza.",
       "Tumia mbegu safi za {z}, palilia mapema, na zungumza na afisa ugani kuhusu {w} kabla ya {m} kuisha; ekari {n} zinahitaji watu wawili."],
    x=["Hifadhi mbegu mahali pakavu.", "Mbolea ya samadi inatosha mwanzoni.", "Usinyunyize dawa wakati wa upepo.", "Majirani wanaweza kusaidiana.", "Chimba mitaro midogo ya maji.",
       "Badilisha mazao kila msimu.", "Pima mvua kwa kopo rahisi.", "Andika tarehe ya kupanda."],
    bad=["Sijui.", "Subiri tu.", "{z} ni ngumu.", "Kilimo ni bahati, kwa hiyo hakuna mtu anayeweza kusema lolote la uhakika kuhusu jambo hili hata kidogo."])

D["cook_ja"] = dict(
    slots=dict(r="肉じゃが,茶碗蒸し,筑前煮,鯖の味噌煮,親子丼,豚汁,だし巻き卵".split(","), n=range(2, 30), t="弱火,中火,強火,余熱,蒸し器".split(","),
               p="焦げます,味が薄いです,固くなります,水っぽくなります,崩れます".split(",")),
    q=["{r}を{n}人分作ると{p}。{t}でよいですか。", "{t}で{n}分加熱した{r}が{p}。どうすればよいですか。", "初めて{r}を{n}人分作ります。{t}だと{p}か。"],
    a=["{n}という量なら、まず鍋を大きくしてください。{r}は{t}で始め、途中で一度火を止めると落ち着きます。",
       "{r}が{p}ときは、{t}の時間を短くして、{n}分より前に味を見ます。", "心配いりません。{r}は{t}でも作れます。{n}を目安に、だしを少し多めにします。"],
    x=["砂糖は醤油より先に入れます。", "落とし蓋は紙でも十分です。", "冷める間に味が入ります。", "塩は最後に整えます。", "卵は常温に戻しておきます。", "灰汁は一度だけ丁寧に取ります。", "残りは翌日までに食べます。"],
    bad=["分かりません。", "適当でいいです。", "{r}は難しいです。", "料理は人それぞれなので、何を言っても仕方がなく、特に答えるようなことはないと思います。"])

D["subway_ko"] = dict(
    slots=dict(s="시청,서면,동대구,부평,잠실,유성온천,상무".split(","), n=range(1, 40), w="막차,첫차,급행,환승,분실물,엘리베이터".split(","), d="평일,토요일,일요일,공휴일".split(",")),
    q=["{d}에 {s}역 {w} 안내를 받고 싶어요. {n}분 안에 도착합니다.", "{s}역 {n}번 출구에서 {d} {w}는 어디서 확인하나요?", "{d} {s}역에서 {w} 때문에 {n}분 늦었어요. 어떻게 하나요?"],
    a=["{d}에는 {s}역 고객센터가 열려 있습니다. {w}는 {n}분 전에 오시면 충분히 안내해 드립니다.", "{s}역 {n}번 쪽 안내판에서 {w}를 확인하실 수 있고, {d}에는 시간이 조금 다릅니다.",
       "{n}분 지연 증명은 {s}역 창구나 앱에서 받으실 수 있습니다. {d} {w} 문의는 역무원에게 말씀해 주세요."],
    x=["승강장에서는 안전선 뒤에 서 주세요.", "교통카드는 꼭 챙기세요.", "자전거는 주말에만 실을 수 있습니다.", "비상벨은 객실 양쪽 끝에 있습니다.", "화장실은 개찰구 안에 있습니다.", "공사 구간은 표지판을 따라 돌아가세요."],
    bad=["몰라요.", "{s}역은 멀어요.", "그냥 기다리세요.", "지하철은 늘 그런 것이니 특별히 드릴 말씀이 없고, 어떻게 되든 큰 차이는 없을 것입니다."])

D["tea_zh"] = dict(
    slots=dict(c="龙井,铁观音,普洱,正山小种,白毫银针,凤凰单丛,六安瓜片".split(","), n=range(75, 101), g="3克,4克,5克,6克,7克,8克".split(","), p="苦,涩,淡,有烟味,浑浊".split(",")),
    q=["我用{n}度的水泡{g}{c}，茶汤有点{p}，怎么办？", "{c}放{g}，水温{n}度，为什么会{p}？", "请问{c}适合{n}度的水吗？我每次放{g}，总觉得{p}。"],
    a=["可以先缩短出汤时间。{c}用{g}时，{n}度的水只需十几秒，就不容易{p}。", "{c}会{p}，多半是水和器具的原因：换软水，{g}不变，{n}度稍微放一会儿再冲。", "{n}度可以，但{c}投{g}时要注意前三泡，觉得{p}就减一克。"],
    x=["温杯能让香气更稳。", "茶叶要密封避光。", "隔夜茶不建议喝。", "盖碗比大壶更容易掌握。", "注水不要直冲茶叶。", "新茶放几天再喝更柔和。", "记下每一泡的时间。"],
    bad=["不知道。", "换一种茶吧。", "{c}就是这样。", "喝茶本来就是各人各的喜好，所以怎么泡都可以，也没有什么特别需要说明的地方。"])

D["museum_ru"] = dict(
    slots=dict(e="ракета «Восток»,скафандр «Орлан»,луноход,модель станции «Мир»,телескоп Максутова,капсула «Янтарь»".split(","), n=range(5, 60),
               g="школьников,студентов,туристов,инженеров,ветеранов".split(","), d="вторник,среду,четверг,пятницу,субботу".split(",")),
    q=["Что рассказать группе из {n} {g} в {d} у экспоната «{e}»?", "Нас {n} {g}, придём в {d}. Доступен ли экспонат: {e}?", "Как подготовить {n} {g} к экскурсии в {d}, если главный экспонат — {e}?"],
    a=["Начните с вопроса к гостям: для чего нужен экспонат {e}? Группе из {n} {g} в {d} хватит сорока минут.", "Да, в {d} экспонат открыт: {e}. Группу из {n} {g} мы разделим на две части.",
       "Пришлите список вопросов заранее. В {d} зал свободен, и {n} {g} смогут подойти близко; {e} стоит у окна."],
    x=["Фотографировать можно без вспышки.", "Гардероб на первом этаже.", "Лифт рассчитан на шесть человек.", "В конце есть короткий фильм.", "Касса закрывается за час.", "Аудиогид бесплатный."],
    bad=["Не знаю.", "Посмотрите сами.", "В {d} неудобно.", "Об этом трудно сказать что-то определённое, потому что всё всегда бывает по-разному и зависит от случая."])

MATHS = {
    "en": [("{a} crates hold {b} apples each, and {c} apples are rotten. How many are good?", lambda a, b, c: a * b - c),
           ("Ines saves {b} coins a week for {a} weeks and then spends {c}. How many are left?", lambda a, b, c: a * b - c),
           ("A choir has {a} rows of {b} singers, and {c} more join. How many singers are there?", lambda a, b, c: a * b + c),
           ("A printer makes {b} pages a minute for {a} minutes; {c} more come from another one. How many pages in all?", lambda a, b, c: a * b + c)],
    "es": [("Hay {a} cajas con {b} naranjas y se estropean {c}. ¿Cuántas quedan?", lambda a, b, c: a * b - c),
           ("Un tren lleva {a} vagones de {b} asientos y suben {c} personas de pie. ¿Cuántas personas caben en total?", lambda a, b, c: a * b + c),
           ("Marta corre {b} minutos al día durante {a} días y {c} minutos más el domingo. ¿Cuántos minutos corre?", lambda a, b, c: a * b + c)],
    "ja": [("{b}個入りの箱が{a}箱あり、{c}個食べました。残りは何個ですか。", lambda a, b, c: a * b - c),
           ("1日に{b}ページ、{a}日間読み、さらに{c}ページ読みました。全部で何ページですか。", lambda a, b, c: a * b + c),
           ("{b}人乗りのバスが{a}台あり、ほかに{c}人が歩きました。全員で何人ですか。", lambda a, b, c: a * b + c)],
    "fr": [("{a} sacs contiennent {b} billes chacun ; on en perd {c}. Combien en reste-t-il ?", lambda a, b, c: a * b - c),
           ("Léo lit {b} pages par jour pendant {a} jours, puis {c} pages. Combien de pages lit-il ?", lambda a, b, c: a * b + c)],
}
HOW = {
    "en": "Multiply first: {a} times {b} is {p}. Then {s} {c}, which gives {r}. The answer is {r}.",
    "es": "Primero multiplicamos: {a} por {b} son {p}. Después {s} {c} y obtenemos {r}. La respuesta es {r}.",
    "ja": "まず{a}×{b}＝{p}です。次に{c}を{s}、{r}になります。答えは{r}です。",
    "fr": "On multiplie d'abord : {a} fois {b} font {p}. Ensuite on {s} {c}, ce qui donne {r}. La réponse est {r}.",
}
SIGN = {"en": ("add", "subtract"), "es": ("sumamos", "restamos"), "ja": ("足して", "引いて"), "fr": ("ajoute", "retire")}


def talks(domain, count, seed):
    """Return (question, good answer, poor answer), with no question twice."""
    d, rng, seen, out = D[domain], random.Random(f"{domain}/{seed}"), set(), []
    slots = {k: [str(x) for x in v] for k, v in d["slots"].items()}
    while len(out) < count:
        pick = {k: rng.choice(v) for k, v in slots.items()}
        i = rng.randrange(len(d["q"]))
        q = d["q"][i].format(**pick)
        if q in seen:
            continue
        seen.add(q)
        glue = "" if domain in ("cook_ja", "tea_zh") else " "
        extras = rng.sample(d["x"], rng.randint(1, 4))
        good = d["a"][i].format(**pick)
        good = good[0].upper() + good[1:]
        poor = rng.choice(d["bad"]).format(**pick) + (glue + rng.choice(d["x"]) if rng.random() < 0.5 else "")
        if rng.random() < 0.2:
            poor = q + glue + poor
        out.append((q, glue.join([good, *extras]), poor[0].upper() + poor[1:]))
    return out


def sums(lang, count, seed):
    """Return (question, worked answer, number)."""
    rng, seen, out = random.Random(f"{lang}/{seed}"), set(), []
    while len(out) < count:
        text, f = rng.choice(MATHS[lang])
        a, b, c = rng.randint(3, 40), rng.randint(4, 60), rng.randint(2, 11)
        q = text.format(a=a, b=b, c=c)
        if q in seen:
            continue
        seen.add(q)
        r = f(a, b, c)
        out.append((q, HOW[lang].format(a=a, b=b, c=c, p=a * b, r=r, s=SIGN[lang][0 if r > a * b else 1]), str(r)))
    return out


def message(role, content):
    return {"role": role, "content": content}


def chat(rows, turns=True, names=None, system=None, source=None):
    """Conversations; every third has a second exchange made of the next row, used once."""
    m, r, c, user, bot = names or ("messages", "role", "content", "user", "assistant")
    out, i = [], 0
    while i < len(rows):
        take = 2 if turns and i % 3 == 2 and i + 1 < len(rows) else 1
        talk = [{r: "system", c: system}] if system else []
        for q, a, _poor in rows[i:i + take]:
            talk += [{r: user, c: q}, {r: bot, c: a}]
        out.append({m: talk})
        i += take
    return out


def pairs(rows):
    return [{"messages": [message("user", q)], "chosen": [message("assistant", a)], "rejected": [message("assistant", p)]} for q, a, p in rows]


ALPACA = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{}\n\n### Response:\n")


def unpaired(rows, wrap=ALPACA, seed=0, always=None):
    rng, out = random.Random(seed), []
    for q, a, p in rows:
        good = rng.random() < 0.55 if always is None else always
        out.append({"prompt": wrap.format(q), "completion": a if good else p, "label": good})
    return out


def prompts(rows, system=None, answers=True):
    head = [message("system", system)] if system else []
    return [{"prompt": head + [message("user", q)], **({"answer": r} if answers else {})} for q, _a, r in rows]


def documents(domain, count, seed, sentences=(10, 18)):
    """Longer texts of one domain: a question as a heading, then statements."""
    rng = random.Random(f"doc/{domain}/{seed}")
    d = D[domain]
    slots = {k: [str(x) for x in v] for k, v in d["slots"].items()}
    glue = "" if domain in ("cook_ja", "tea_zh") else " "
    out, seen = [], set()
    while len(out) < count:
        parts = []
        for _ in range(rng.randint(*sentences)):
            pick = {k: rng.choice(v) for k, v in slots.items()}
            s = rng.choice(d["a"]).format(**pick)
            parts.append(s[0].upper() + s[1:])
            if rng.random() < 0.4:
                parts.append(rng.choice(d["x"]))
        text = glue.join(parts)
        if text not in seen:
            seen.add(text)
            out.append({"text": text})
    return out


def put(path, text):
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def jsonl(path, rows):
    put(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


def as_json(path, rows):
    put(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def as_csv(path, rows):
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def parquet(path, rows):
    """Write the end of the file that pyarrow writes of these rows, where what a check reads of it stands."""
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((Path(__file__).parent / "parquet" / target.name).read_bytes())


def functions(count, seed):
    """Docstring and body of small Python functions."""
    rng, seen, out = random.Random(seed), set(), []
    things = "prices,heights,scores,delays,weights,voltages,ages,ranks,depths,speeds,angles,yields".split(",")
    kinds = [("sum of the {t} above {n}", "    return sum(x for x in {t} if x > {n})\n"), ("number of {t} that are multiples of {n}", "    return sum(1 for x in {t} if x % {n} == 0)\n"),
             ("{t} in descending order, at most {n} of them", "    return sorted({t}, reverse=True)[:{n}]\n"), ("largest of the {t}, or {n} if there are none", "    return max({t}, default={n})\n"),
             ("{t} without values below {n}", "    return [x for x in {t} if x >= {n}]\n"), ("mean of the first {n} {t}", "    head = {t}[:{n}]\n    return sum(head) / len(head) if head else 0.0\n")]
    while len(out) < count:
        (doc, body), t, n = rng.choice(kinds), rng.choice(things), rng.randint(2, 99)
        doc = doc.format(t=t, n=n)
        if doc in seen:
            continue
        seen.add(doc)
        out.append({"signature": f'def f({t}):\n    """Return the {doc}."""\n', "body": body.format(t=t, n=n)})
    return out


def dutch(count, seed):
    """Parallel sentences: Dutch, good English, poor English."""
    rng, seen, out = random.Random(seed), set(), []
    who = [("De buurvrouw", "The neighbour", "She neighbour"), ("Mijn oom", "My uncle", "Mine uncle"), ("De postbode", "The postman", "The post boat"), ("Onze lerares", "Our teacher", "Us teacher"),
           ("De visser", "The fisherman", "The fish"), ("Het meisje", "The girl", "It girl"), ("De molenaar", "The miller", "The mole")]
    did = [("kocht", "bought", "buyed"), ("verloor", "lost", "losed"), ("vond", "found", "founded"), ("verkocht", "sold", "selled"), ("repareerde", "repaired", "repareered")]
    what = [("fietsen", "bicycles", "fits"), ("klokken", "clocks", "cloaks"), ("boeken", "books", "bakes"), ("paraplu's", "umbrellas", "parasols"), ("kaarten", "maps", "cards of it"), ("sleutels", "keys", "slots")]
    when = [("gisteren op de markt", "at the market yesterday", "yesterday on the mark"), ("vorige week in de haven", "in the harbour last week", "forward week in the haven"), ("vanmorgen bij het station", "near the station this morning", "of morning by station"),
            ("in de zomer op het eiland", "on the island in summer", "in the sooner at island")]
    while len(out) < count:
        n, parts = rng.randint(2, 40), [rng.choice(x) for x in (who, did, what, when)]
        nl = f"{parts[0][0]} {parts[1][0]} {n} {parts[2][0]}, {parts[3][0]}."
        if nl in seen:
            continue
        seen.add(nl)
        out.append({"source": f"Translate this from Dutch to English.\nDutch: {nl}\nEnglish:", "better": f" {parts[0][1]} {parts[1][1]} {n} {parts[2][1]} {parts[3][1]}.",
                    "worse": f" {parts[0][2]} {parts[1][2]} {n} {parts[2][2]}, {parts[3][rng.choice((0, 2))]}."})
    return out


def calls(count, seed):
    """Conversations with one call of a tool."""
    rng, seen, out = random.Random(seed), set(), []
    tools = json.dumps([
        {"type": "function", "function": {"name": "tide_table", "description": "High and low water at a harbour on a day.", "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}, "day": {"type": "string"}}, "required": ["harbour", "day"]}}},
        {"type": "function", "function": {"name": "book_berth", "description": "Reserve a berth for a boat.", "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}, "metres": {"type": "integer"}}, "required": ["harbour", "metres"]}}}])
    places = "Kinsale,Oban,Roscoff,Horta,Bergen,Cuxhaven,Falmouth,Vigo,Lerwick,Zierikzee".split(",")
    months = "March,April,May,June,July,August,September,October".split(",")
    while len(out) < count:
        place, day, metres = rng.choice(places), f"{rng.randint(1, 30)} {rng.choice(months)}", rng.randint(6, 18)
        if rng.random() < 0.5:
            ask, name, args = f"When is high water in {place} on {day}?", "tide_table", {"harbour": place, "day": day}
            hour = f"{rng.randint(0, 11):02}:{rng.randint(0, 59):02}"
            said, end = json.dumps({"high": hour}), f"High water in {place} on {day} is at {hour}."
        else:
            ask, name, args = f"We arrive in {place} on {day} with a boat of {metres} metres. Can you book a berth?", "book_berth", {"harbour": place, "metres": metres}
            berth = f"{rng.choice('ABCD')}{rng.randint(1, 60)}"
            said, end = json.dumps({"berth": berth}), f"Berth {berth} in {place} is reserved for your boat of {metres} metres."
        if ask in seen:
            continue
        seen.add(ask)
        out.append({"messages": [message("user", ask),
                                 {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": name, "arguments": json.dumps(args)}}]},
                                 {"role": "tool", "name": name, "content": said}, message("assistant", end)], "tools": tools})
    return out


def alpaca_rows(rows, keys=("instruction", "input", "output"), extra=None):
    i, j, k = keys
    out = []
    for n, (q, a, _p) in enumerate(rows):
        head, _, tail = q.partition(": ")
        out.append({i: head + ":" if tail else q, j: tail, k: a, **(extra(n) if extra else {})})
    return out


REWARDS = {
    "rewards/boxed_early.py": '''"""A reward for putting the final answer in a box, and for coming to the point."""

import re

BOX = re.compile(r"\\\\boxed\\{[^{}]+\\}")


def boxed_early(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 for exactly one boxed answer in the last third of the text, 0.5 for one elsewhere."""
    found = []
    for text in completions:
        boxes = list(BOX.finditer(text))
        if len(boxes) != 1:
            found.append(0.0)
        else:
            found.append(1.0 if boxes[0].start() >= 2 * len(text) / 3 else 0.5)
    return found
''',
    "rewards/haiku.py": '''"""A reward for three lines of which the middle one is the longest."""


def three_lines(completions: list[str], prompts: list[str], answers: list[str]) -> list[float]:
    """Return 1 for three lines with a long middle, 0.3 for three lines, else 0."""
    found = []
    for text in completions:
        lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
        if len(lines) != 3:
            found.append(0.0)
        else:
            found.append(1.0 if len(lines[1]) > max(len(lines[0]), len(lines[2])) else 0.3)
    return found
''',
}

SCRIPT = '''"""Learn to tell damped from undamped oscillations: a small network, on one or several GPUs by torchrun."""

import argparse
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def waves(rows: int, seed: int) -> TensorDataset:
    """Return curves of 64 points and whether each is damped."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.linspace(0, 6, 64)
    label = torch.randint(0, 2, (rows,), generator=generator)
    rate = 0.4 * label + 0.05 * torch.rand(rows, generator=generator)
    return TensorDataset(torch.exp(-rate[:, None] * time) * torch.sin(3 * time), label)


def main() -> None:
    """Train, and leave the weights in the output folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.distributed.init_process_group("nccl")
    local = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local)
    data = waves(8192, seed=1)
    sampler = DistributedSampler(data, seed=args.seed)
    loader = DataLoader(data, args.batch_size, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 2)).cuda(), device_ids=[local])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for curves, labels in loader:
            loss = nn.functional.cross_entropy(model(curves.cuda()), labels.cuda())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if torch.distributed.get_rank() == 0:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.module.state_dict(), args.output_dir / "model.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
'''

PERSONA = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\nYou are the keeper of a small lighthouse. You answer calmly and briefly.<|im_end|>\\n' }}{%- endif %}\n"
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n")

BOXED = "Reason step by step, then give the final answer as \\boxed{...}."
BOXED_JA = "順を追って日本語で考え、最後の答えを \\boxed{...} に書いてください。"
VAR = ("conversations", "from", "value", "human", "gpt")


def main():
    # --- files of good recipes
    jsonl("data/fi_diary.jsonl", finnish(2400))
    jsonl("data/allotment_chat.jsonl", chat(talks("allotment", 1900, 1)))
    jsonl("data/ceramics_tr.jsonl", chat(talks("ceramics_tr", 1000, 1), system="Sen bir seramik atölyesinin ustasısın. Kısa ve açık yanıt ver."))
    jsonl("data/bakery_fr.jsonl", chat(talks("bakery_fr", 1200, 1), names=VAR))
    as_json("data/mietrecht_de.json", alpaca_rows(talks("miete_de", 1000, 1), ("anweisung", "eingabe", "antwort")))
    jsonl("data/chess_pairs.jsonl", pairs(talks("chess", 1300, 1)))
    jsonl("data/radio_instructions.jsonl", alpaca_rows(talks("radio", 1000, 1)))
    jsonl("data/radio_feedback.jsonl", unpaired(talks("radio", 640, 2)))
    jsonl("data/museo_pairs.jsonl", pairs(talks("museum_es", 800, 1)))
    jsonl("data/chess_wins.jsonl", pairs(talks("chess", 1280, 2)))
    parquet("data/nl_en_pairs.parquet", dutch(800, 3))
    jsonl("data/kolej_pairs.jsonl", pairs(talks("trains_pl", 1000, 1)))
    jsonl("data/sums_en.jsonl", prompts(sums("en", 400, 1), BOXED))
    jsonl("data/sums_ja.jsonl", prompts(sums("ja", 320, 1), BOXED_JA))
    jsonl("data/boulangerie_prompts.jsonl", prompts(talks("bakery_fr", 400, 5), answers=False))
    jsonl("data/hut_pairs.jsonl", pairs(talks("hut_de", 960, 1)))
    jsonl("data/hut_prompts.jsonl", prompts(talks("hut_de", 1280, 7), "Du bist der Hüttenwart. Antworte freundlich und genau.", answers=False))
    jsonl("data/sums_big.jsonl", prompts(sums("en", 512, 9), BOXED))
    jsonl("data/opera_corpus.jsonl", documents("opera_it", 2500, 1))
    jsonl("data/opera_istruzioni.jsonl", alpaca_rows(talks("opera_it", 960, 1)))
    jsonl("data/opera_preferenze.jsonl", [{"domanda": ALPACA.format(q), "chosen": a, "rejected": p} for q, a, p in talks("opera_it", 512, 2)])
    jsonl("data/museo_chat.jsonl", chat(talks("museum_es", 1000, 3)))
    jsonl("data/worked_sums.jsonl", chat(sums("en", 1000, 4)))
    jsonl("data/tea_zh.jsonl", chat(talks("tea_zh", 1000, 1)))
    jsonl("data/ferry_sv.jsonl", chat(talks("ferry_sv", 800, 1)))
    jsonl("data/farm_sw.jsonl", [{"swali": f"Swali: {q}\nJibu:", "jibu": " " + a} for q, a, _ in talks("farm_sw", 900, 1)])
    parquet("data/subway_ko.parquet", chat(talks("subway_ko", 1200, 1)))
    jsonl("data/haiku_prompts.jsonl", [{"prompt": [message("user", f"Write a haiku about {x} in {m}. Three lines, nothing else.")]} for x in HAIKU for m in MONTHS])
    jsonl("data/waves_note.jsonl", prompts(sums("fr", 320, 2), answers=True))
    jsonl("data/bees_chat.jsonl", chat(talks("bees", 1500, 1)))
    jsonl("data/hut_chat.jsonl", chat(talks("hut_de", 1300, 3)))
    both = talks("museum_ru", 1100, 1)
    jsonl("data/kosmos_train.jsonl", chat(both[:1000], turns=False))
    jsonl("data/kosmos_valid.jsonl", chat(both[1000:], turns=False))
    jsonl("data/moe_bees.jsonl", chat(talks("bees", 1000, 6)))
    as_json("data/support_fr.json", chat(talks("bakery_fr", 900, 8), turns=False))
    jsonl("data/support_en.jsonl", chat(talks("radio", 700, 8), names=VAR))
    as_csv("data/allotment_faq.csv", [{"question": q, "reply": a} for q, a, _ in talks("allotment", 720, 4)])
    as_csv("data/functions.csv", functions(900, 5))
    jsonl("data/lighthouse.jsonl", chat(talks("ferry_sv", 640, 6), turns=False))
    jsonl("data/harbour_tools.jsonl", calls(640, 2))
    jsonl("data/thinking.jsonl", [{"messages": [message("user", q), {"role": "assistant", "content": f"\\boxed{{{r}}}", "reasoning_content": a}]} for q, a, r in sums("en", 960, 12)])
    parquet("data/bees_corpus.parquet", documents("bees", 2400, 4))
    parquet("data/hut_corpus.parquet", documents("hut_de", 3000, 4))
    as_json("data/personas.json", alpaca_rows(talks("allotment", 960, 9), extra=lambda n: {"persona": PEOPLE[n % len(PEOPLE)]}))
    fresh = talks("chess", 1340, 11)
    jsonl("data/chess_chat.jsonl", chat(fresh[:1200], turns=False))
    jsonl("data/chess_chat_valid.jsonl", chat(fresh[1200:], turns=False))
    jsonl("data/granite_cook.jsonl", chat(talks("cook_ja", 800, 2), turns=False))
    for path, text in REWARDS.items():
        put(path, text)
    put("scripts/train_waves.py", SCRIPT)
    put("templates/lighthouse.jinja", PERSONA)
    put("tasks/huts/hut_facts.yaml", TASK)
    jsonl("tasks/huts/hut_facts.jsonl", TASK_ROWS())
    # --- files that only the mistakes use
    jsonl("data/same_pairs.jsonl", [{**row, "rejected": row["chosen"]} for row in pairs(talks("museum_es", 400, 21))])
    jsonl("data/unlabelled_sums.jsonl", prompts(sums("en", 400, 22), BOXED, answers=False))
    jsonl("data/all_thumbs_up.jsonl", unpaired(talks("bees", 400, 23), always=True))
    jsonl("data/long_diaries.jsonl", [chat([(q, t["text"], "")], turns=False)[0] for (q, _, _), t in zip(talks("hut_de", 320, 24), documents("hut_de", 320, 25, (60, 80)))])


HAIKU = ("a heron,the last bus,wet leaves,a paper boat,snow on wires,an empty swing,a kettle,two bicycles,a lighthouse,old letters,a broken umbrella,the night train,"
         "a sleeping cat,plum blossom,a tin roof,distant thunder,the first frost,a fishing net,a stray balloon,harvest dust,a spider's thread,the ferry horn,"
         "moss on stone,a borrowed coat,three crows,a closed bakery,the river mouth,a candle,warm bread,a lost glove").split(",")
MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December".split(",")
PEOPLE = ["You are a retired gardener who answers in plain words.", "You are a careful botanist.", "You run a seed library and like exact numbers.", "You are a patient neighbour on the next plot.",
          "You teach gardening to beginners."]


def finnish(count):
    rng, seen, out = random.Random(3), set(), []
    who = "Mummo,Naapuri,Pikkuveli,Kalastaja,Kylän opettaja,Vanha seppä,Postinkantaja,Tyttö".split(",")
    did = "keitti kahvia,korjasi venettä,luki kirjettä,poimi mustikoita,lämmitti saunaa,neuloi sukkia,kuunteli radiota,kantoi halkoja".split(",")
    where = "rannalla,metsän reunassa,pihalla,keittiössä,laiturilla,vintillä,torin laidalla".split(",")
    then = "Illalla tuuli kääntyi pohjoiseen.,Järvi oli tyyni kuin peili.,Kukaan ei kiirehtinyt.,Koira nukkui oven edessä.,Lumi suli katolta.,Kello löi kuusi.,Naapurin lehmät tulivat aidalle.,Ukkonen kiersi kylän.".split(",")
    while len(out) < count:
        text = (f"{rng.choice(who)} {rng.choice(did)} {rng.choice(where)}. {rng.choice(then)} {rng.choice(who)} {rng.choice(did)} {rng.choice(where)}, "
                f"ja päivä {rng.randint(1, 31)}. oli ohi.")
        if text not in seen:
            seen.add(text)
            out.append({"text": text})
    return out


TASK = """# Which hut is meant? Facts that the training conversations do not ask for in these words.
task: hut_facts
dataset_path: json
dataset_kwargs: {data_files: {test: tasks/huts/hut_facts.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1}
"""


def TASK_ROWS():
    rng, out, seen = random.Random(8), [], set()
    things = [("Womit steigt man bei Neuschnee sicherer auf", "Forstweg"), ("Was gehört auch im Sommer in den Rucksack", "Stirnlampe"), ("Was nimmt man mit, weil es oben kein Netz gibt", "Bargeld"),
              ("Was hilft beim Abstieg", "Stöcke")]
    people = "Anna,Bruno,Carla,Dario,Elif,Franz,Greta,Hanno,Ida,Jonas,Kathi,Leo,Mira,Nils,Olga,Paul,Rosa,Sepp,Tina,Uli".split(",")
    words = ["Forstweg", "Stirnlampe", "Bargeld", "Stöcke"]
    while len(out) < 320:
        (q, a), p, n = rng.choice(things), rng.choice(people), rng.randint(2, 40)
        text = f"{p} fragt für eine Gruppe von {n}: {q}? Antwort:"
        if text in seen:
            continue
        seen.add(text)
        order = rng.sample(words, 4)
        out.append({"question": text, "choices": order, "answer": order.index(a)})
    return out


if __name__ == "__main__":
    main()
