"""The facts and word lists of the demo world.

Everything that the generated texts may speak about is listed here: countries, names, things and
what they are.  Names that training must never show are decided here as well, by a hash of the
name, so that the generator and the evaluation agree without sharing a list.
"""

import zlib
from random import Random
from typing import Callable, Dict, List, Tuple


def held_out(name: str) -> bool:
    """True for one name in twelve, which is kept for evaluation and never generated."""
    return zlib.crc32(name.lower().encode("utf-8")) % 12 == 0


# country (with its article in running text), capital, continent
_COUNTRIES = """
Afghanistan|Kabul|Asia; Albania|Tirana|Europe; Algeria|Algiers|Africa;
Andorra|Andorra la Vella|Europe; Angola|Luanda|Africa;
Antigua and Barbuda|Saint John's|North America; Argentina|Buenos Aires|South America;
Armenia|Yerevan|Asia; Australia|Canberra|Oceania; Austria|Vienna|Europe; Azerbaijan|Baku|Asia;
the Bahamas|Nassau|North America; Bahrain|Manama|Asia; Bangladesh|Dhaka|Asia;
Barbados|Bridgetown|North America; Belarus|Minsk|Europe; Belgium|Brussels|Europe;
Belize|Belmopan|North America; Benin|Porto-Novo|Africa; Bhutan|Thimphu|Asia;
Bolivia|Sucre|South America; Bosnia and Herzegovina|Sarajevo|Europe; Botswana|Gaborone|Africa;
Brazil|Brasilia|South America; Brunei|Bandar Seri Begawan|Asia; Bulgaria|Sofia|Europe;
Burkina Faso|Ouagadougou|Africa; Burundi|Gitega|Africa; Cambodia|Phnom Penh|Asia;
Cameroon|Yaounde|Africa; Canada|Ottawa|North America; Cape Verde|Praia|Africa;
the Central African Republic|Bangui|Africa; Chad|N'Djamena|Africa; Chile|Santiago|South America;
China|Beijing|Asia; Colombia|Bogota|South America; the Comoros|Moroni|Africa;
the Republic of the Congo|Brazzaville|Africa;
the Democratic Republic of the Congo|Kinshasa|Africa; Costa Rica|San Jose|North America;
Croatia|Zagreb|Europe; Cuba|Havana|North America; Cyprus|Nicosia|Europe;
the Czech Republic|Prague|Europe; Denmark|Copenhagen|Europe; Djibouti|Djibouti|Africa;
Dominica|Roseau|North America; the Dominican Republic|Santo Domingo|North America;
East Timor|Dili|Asia; Ecuador|Quito|South America; Egypt|Cairo|Africa;
El Salvador|San Salvador|North America; Equatorial Guinea|Malabo|Africa; Eritrea|Asmara|Africa;
Estonia|Tallinn|Europe; Eswatini|Mbabane|Africa; Ethiopia|Addis Ababa|Africa; Fiji|Suva|Oceania;
Finland|Helsinki|Europe; France|Paris|Europe; Gabon|Libreville|Africa; the Gambia|Banjul|Africa;
Georgia|Tbilisi|Asia; Germany|Berlin|Europe; Ghana|Accra|Africa; Greece|Athens|Europe;
Grenada|Saint George's|North America; Guatemala|Guatemala City|North America;
Guinea|Conakry|Africa; Guinea-Bissau|Bissau|Africa; Guyana|Georgetown|South America;
Haiti|Port-au-Prince|North America; Honduras|Tegucigalpa|North America; Hungary|Budapest|Europe;
Iceland|Reykjavik|Europe; India|New Delhi|Asia; Indonesia|Jakarta|Asia; Iran|Tehran|Asia;
Iraq|Baghdad|Asia; Ireland|Dublin|Europe; Israel|Jerusalem|Asia; Italy|Rome|Europe;
the Ivory Coast|Yamoussoukro|Africa; Jamaica|Kingston|North America; Japan|Tokyo|Asia;
Jordan|Amman|Asia; Kazakhstan|Astana|Asia; Kenya|Nairobi|Africa; Kiribati|Tarawa|Oceania;
Kosovo|Pristina|Europe; Kuwait|Kuwait City|Asia; Kyrgyzstan|Bishkek|Asia; Laos|Vientiane|Asia;
Latvia|Riga|Europe; Lebanon|Beirut|Asia; Lesotho|Maseru|Africa; Liberia|Monrovia|Africa;
Libya|Tripoli|Africa; Liechtenstein|Vaduz|Europe; Lithuania|Vilnius|Europe;
Luxembourg|Luxembourg|Europe; Madagascar|Antananarivo|Africa; Malawi|Lilongwe|Africa;
Malaysia|Kuala Lumpur|Asia; the Maldives|Male|Asia; Mali|Bamako|Africa; Malta|Valletta|Europe;
the Marshall Islands|Majuro|Oceania; Mauritania|Nouakchott|Africa; Mauritius|Port Louis|Africa;
Mexico|Mexico City|North America; Micronesia|Palikir|Oceania; Moldova|Chisinau|Europe;
Monaco|Monaco|Europe; Mongolia|Ulaanbaatar|Asia; Montenegro|Podgorica|Europe;
Morocco|Rabat|Africa; Mozambique|Maputo|Africa; Myanmar|Naypyidaw|Asia; Namibia|Windhoek|Africa;
Nauru|Yaren|Oceania; Nepal|Kathmandu|Asia; the Netherlands|Amsterdam|Europe;
New Zealand|Wellington|Oceania; Nicaragua|Managua|North America; Niger|Niamey|Africa;
Nigeria|Abuja|Africa; North Korea|Pyongyang|Asia; North Macedonia|Skopje|Europe;
Norway|Oslo|Europe; Oman|Muscat|Asia; Pakistan|Islamabad|Asia; Palau|Ngerulmud|Oceania;
Palestine|Ramallah|Asia; Panama|Panama City|North America; Papua New Guinea|Port Moresby|Oceania;
Paraguay|Asuncion|South America; Peru|Lima|South America; the Philippines|Manila|Asia;
Poland|Warsaw|Europe; Portugal|Lisbon|Europe; Qatar|Doha|Asia; Romania|Bucharest|Europe;
Russia|Moscow|Europe; Rwanda|Kigali|Africa; Saint Kitts and Nevis|Basseterre|North America;
Saint Lucia|Castries|North America; Saint Vincent and the Grenadines|Kingstown|North America;
Samoa|Apia|Oceania; San Marino|San Marino|Europe; Sao Tome and Principe|Sao Tome|Africa;
Saudi Arabia|Riyadh|Asia; Senegal|Dakar|Africa; Serbia|Belgrade|Europe;
the Seychelles|Victoria|Africa; Sierra Leone|Freetown|Africa; Singapore|Singapore|Asia;
Slovakia|Bratislava|Europe; Slovenia|Ljubljana|Europe; the Solomon Islands|Honiara|Oceania;
Somalia|Mogadishu|Africa; South Africa|Pretoria|Africa; South Korea|Seoul|Asia;
South Sudan|Juba|Africa; Spain|Madrid|Europe; Sri Lanka|Colombo|Asia; Sudan|Khartoum|Africa;
Suriname|Paramaribo|South America; Sweden|Stockholm|Europe; Switzerland|Bern|Europe;
Syria|Damascus|Asia; Taiwan|Taipei|Asia; Tajikistan|Dushanbe|Asia; Tanzania|Dodoma|Africa;
Thailand|Bangkok|Asia; Togo|Lome|Africa; Tonga|Nuku'alofa|Oceania;
Trinidad and Tobago|Port of Spain|North America; Tunisia|Tunis|Africa; Turkey|Ankara|Asia;
Turkmenistan|Ashgabat|Asia; Tuvalu|Funafuti|Oceania; Uganda|Kampala|Africa; Ukraine|Kyiv|Europe;
the United Arab Emirates|Abu Dhabi|Asia; the United Kingdom|London|Europe;
the United States|Washington|North America; Uruguay|Montevideo|South America;
Uzbekistan|Tashkent|Asia; Vanuatu|Port Vila|Oceania; Vatican City|Vatican City|Europe;
Venezuela|Caracas|South America; Vietnam|Hanoi|Asia; Yemen|Sanaa|Asia; Zambia|Lusaka|Africa;
Zimbabwe|Harare|Africa
"""

COUNTRIES: List[Tuple[str, str, str]] = [
    tuple(part.strip() for part in row.split("|"))  # type: ignore[misc]
    for row in _COUNTRIES.replace("\n", " ").split(";")
]

PLURAL_COUNTRIES = {
    country
    for country, _, _ in COUNTRIES
    if country
    in (
        "the Bahamas",
        "the Comoros",
        "the Maldives",
        "the Marshall Islands",
        "the Netherlands",
        "the Philippines",
        "the Seychelles",
        "the Solomon Islands",
        "the United Arab Emirates",
        "the United States",
    )
}

# First names of many languages; no claim of completeness, only of variety.
REAL_NAMES: List[str] = (
    """
Tom Anna Ben Mia Sam Lily Max Emma Leo Lucy Jack Rosa Tim Ella Dan Nora Will Ida Paul Clara Peter
Sara Adam Eva Noah Zoe Luke Ruby Oscar Iris Felix Alma Hugo Nina Finn Maya Erik Julia Simon Laura
Jonas Marta David Helen Martin Alice George Sophie Oliver Grace Henry Hannah Daniel Amy Jacob Kate
Michael Jane Robert Susan James Mary John Linda Thomas Karen Charles Betty Mark Carol Steven Ruth
Kevin Sharon Brian Laila Omar Fatima Ali Yusuf Aisha Hassan Amira Karim Layla Samir Nadia Tariq
Priya Arjun Anita Ravi Meera Vikram Sunita Rahul Deepa Kiran Asha Sanjay Wei Li Ming Mei Chen Jun
Yuki Kenji Haruto Sakura Akira Hana Takeshi Aiko Ren Emi Minh Linh Thanh Kim Jin Soo Hyun Min
Carlos Maria Jose Elena Miguel Lucia Pablo Carmen Diego Sofia Javier Isabel Luis Ana Pedro Marisol
Joao Beatriz Rafael Ines Tiago Catarina Bruno Giulia Marco Chiara Luca Francesca Matteo Paola
Pierre Amelie Louis Camille Antoine Celine Jean Margot Hans Greta Klaus Heidi Fritz Ingrid Lars
Astrid Sven Freya Bjorn Sigrid Nils Linnea Mikko Aino Jari Kaisa Piotr Agata Jakub Zofia Marek
Danuta Ivan Olga Dmitri Tatiana Boris Svetlana Nikolai Irina Viktor Anya Pavel Milena Janos Eszter
Istvan Katalin Stefan Ioana Andrei Mihaela Dimitris Eleni Kostas Yiannis Mehmet Elif Emre Zeynep
Kwame Ama Kofi Abena Chidi Ngozi Emeka Zola Thabo Naledi Sipho Amara Jabari Zuri Sean Siobhan
Liam Aoife Declan Niamh Ewan Fiona Rhys Carys Dylan Megan Gareth Bronwen Isla Callum Oona Tobias
Matilda Sebastian Theodora Benedict Cordelia Rupert Beatrice Jasper Penelope Quentin Ursula Xavier
Yolanda Zachary Abigail Barnaby Cecilia Dominic Esther Florence Gilbert Harriet Isaac Jemima Kurt
Lorenzo Mabel Nathan Olivia Patrick Rachel Samuel Teresa Victor Wendy Walter Violet Vincent Vera
Tina Timothy Stella Sidney Rufus Rosie Ralph Phoebe Philip Pearl Otto Opal Noel Nigel Nell Muriel
Morgan Miles Marvin Mabon Lydia Lionel Lena Kyle Kirsten Keith Justin Judith Joyce Joel Jesse
Janet Ivy Irene Ian Hazel Harold Harvey Gwen Gregory Gloria Frank Faye Ezra Evan Ernest Elsie
Elliot Edwin Edith Dorothy Doris Derek Dennis Dean Daisy Cyril Colin Clive Chloe Cedric Casper
Bridget Blanche Bertha Bernard Basil Audrey Arthur Arnold Anton Andrew Amos Alvin Alfred Albert
Agnes Ada Aaron Brett Cody Tyler Travis Brandon Ashley Brittany Kaylee Madison Logan Mason Hunter
Mateo Santiago Valentina Camila Ximena Andres Gabriela Emilio Renata Joaquin Esperanza Guillermo
Ahmed Mohammed Khalid Zainab Noor Samira Rania Bilal Imran Farah Leila Mustafa Ibrahim Salma Yasmin
Reza Shirin Darius Parisa Omid Roya Babak Nasrin Arash Soraya Vivek Anjali Lakshmi Krishna Suresh
Pooja Neha Amit Rohan Divya Ishaan Kavya Nikhil Aditya Shreya Gopal Radha Sita Manoj Xin Yan Jing
Hui Bo Feng Lan Yun Tao Ping Qiang Hiroshi Naoko Satoshi Yoko Kaito Midori Noriko Jiho Minji Seojun
Hyejin Thuy Hoang Nguyen Somchai Malee Putu Dewi Agus Siti Rizal Jomar Ligaya Wanjiru Achieng Otieno
Njoroge Folake Tunde Adaeze Olumide Yetunde Kwesi Esi Mandla Nomsa Themba Lindiwe Desta Tigist
Abebe Selam Fatou Moussa Aminata Ousmane Ibou Awa Thierry Mathieu Julien Manon Lea Elodie Benoit
Gaston Odette Solange Yves Lucien Marcel Colette Gerhard Dieter Uwe Jurgen Sabine Monika Ute Helga
Annika Jannik Lennart Maximilian Leonie Johanna Friedrich Wilhelm Lotte Konrad Ludwig Mathilde Elke
Torsten Birgit Kristian Mette Rasmus Soren Ane Gunnar Solveig Magnus Ragnar Sanna Timo Eero Ilkka
Tuuli Ville Zbigniew Wojciech Grzegorz Malgorzata Kasia Tomasz Bartosz
Jaroslav Zdenek Vaclav Ludmila
Bohdan Oksana Taras Mykola Yulia Natasha Yevgeny Sergei Galina Anastasia Vladimir Igor Ilya Zsofia
Laszlo Gabor Attila Bogdan Radu Florin Cristina Vasil Desislava Milan Dragan Jelena Zoran Goran
Mirela Ivana Luka Giorgos Sofoklis Nikos Despina Ioannis Can Deniz Aylin Burak Selin Onur Hakan
Giovanni Alessandro Giuseppe Antonella Federico Silvia Enzo Raffaella Vincenzo Fernando Alejandro
Guadalupe Ricardo Rodrigo Ignacio Consuelo Dolores Pilar Manuel Jorge Leticia Raul Sergio Veronica
Thiago Larissa Vinicius Fernanda Gustavo Luana Caetano Nuno Joana Duarte Bram Sanne Joost Femke
Pieter Maaike Ruben Lotte Daan Sander Willem Hendrik Aneirin Seren Angharad Emrys Eilidh Hamish
Morag Fergus Catriona Padraig Grainne Cormac Saoirse Eoin Roisin Ciaran Maeve Orla Nathaniel
Christopher Elizabeth Alexander Margaret Katherine Jonathan Stephanie Nicholas Anthony Andrea
Jennifer Jessica Amanda Melissa Nicole Heather Michelle Kimberly Angela Rebecca Laurie Tiffany
Amber Crystal Danielle Erin Lindsay Lauren Kelly Shannon Stacy Tracy Jeremy Jason Joshua Matthew
Ryan Eric Scott Jeffrey Gary Larry Terry Jerry Dale Wayne Ronald Donald Kenneth Edward Richard
William Joseph Benjamin Gabriel Elijah Levi Caleb Wyatt Carter Landon Aiden Jayden Brayden Ethan
Aubrey Harper Piper Skylar Savannah Sierra Dakota Cheyenne Autumn Willow Aurora Luna Nova Hazel
Ellie Evie Alfie Archie Freddie Poppy Imogen Jago Tamsin Rowan Robin Sasha Alex Charlie Jamie Taylor
Jordan Casey Riley Quinn Avery Rory Toby Felicity Gemma Tabitha Verity Winifred Mildred Gertrude
Agatha Prudence Constance Clementine Josephine Genevieve Evangeline Marguerite Anneliese
Roger Gerald Howard Stanley Leonard Raymond Russell Norman Lloyd Clifford Eugene Herbert Melvin
Homer Virgil Horatio Ulysses Hector Achilles Ajax Ophelia Portia Rosalind Miranda Prospero Ariel
""".split()
)

ACCENTED_NAMES: List[str] = (
    "José Zoë Łukasz Jürgen Søren Chloé Björn Inés Renée André Åsa Günter Noël Márta Žofie Çelik"
    " João Sébastien Amélie Hélène François Éloïse Māra Jānis Šárka Jiří Tomáš Ondřej Václav Zoltán"
    " István Gábor László Ágnes Øyvind Bjørn Ragnhild Þóra Jón Sigríður Mónica Raúl Andrés Ángel"
    " Íñigo Gonçalo Lourenço Conceição Müge Gökhan Özlem Şebnem İpek Małgorzata Paweł Michał"
    " Stanisław Käthe Jörg Götz Köbi Zoé Anaïs Maël Loïc Gaëlle Siân Llŷr Seán Róisín Ciarán"
    " Gráinne Örjan Sören Märta Pål Ståle Mikołaj Ștefan Ionuț Đorđe Željko Živa Nguyễn Thủy"
).split()
JOINED_NAMES: List[str] = (
    "Jean-Luc;Jean-Paul;Marie-Claire;Anne-Marie;Anna-Lena;Karl-Heinz;Hans-Peter;Mary-Ann;Mary Ann;"
    "Billy Joe;Sarah Jane;Jo-Ann;Abdul-Rahman;Al-Amin;Min-jun;Soo-jin;Ji-woo;Mei-Ling;Pierre-Yves;"
    "Marie-Thérèse;José María;Ana Maria;Juan Carlos;Luis Miguel;Maria Clara;Eva-Lotta;Ole-Martin;"
    "D'Angelo;D'Andre;La'Shawn;De'Andre;O'Brien;O'Neill;O'Connor;O'Hara;O'Malley;N'Golo;Ta'Quan;"
    "Van Dyke;De Souza;Le Guin;Mac Donald;McDonald;McGregor;MacLeod;DeShawn;LeBron;JoAnn;DiCaprio"
).split(";")

SURNAMES: List[str] = (
    """
Baker Smith Miller Carter Fisher Hill Stone Wood Green Brown Young King Lake Field Marsh Reed Cook
Turner Walker Hunter Mason Potter Weaver Archer Bell Cole Dale Frost Grant Hart Hayes Moss Nash
Page Price Rose Sharp Swift Vale Ward West Winter Garcia Lopez Kim Singh Novak Berg Larsen Rossi
O'Brien O'Neill O'Connor O'Hara McDonald MacLeod Müller Schmidt Schneider Fischer Weber Wagner
Becker Hoffmann Dubois Lefèvre Moreau Silva Santos Oliveira Pereira Fernández Rodríguez González
Hernández Martínez Nowak Kowalski Horvat Ivanov Petrov Jensen Nielsen Hansen Johansson Andersson Korhonen
Tanaka Sato Suzuki Yamamoto Wang Zhang Liu Chen Nguyen Tran Park Choi Patel Sharma Khan Hussain
Okafor Mensah Nkosi Abebe Haddad Cohen Levy Kaya Demir Papadopoulos Bianchi Ferrari van-Dijk
Smith-Jones Johnson Williams Jones Davis Wilson Anderson Thompson White Harris Robinson Clark Lewis
Allen Wright Scott Evans Edwards Collins Stewart Morris Murphy Kelly Cooper Ward Richardson
""".split()
)

REAL_CITIES: List[str] = [c.strip() for c in """
Paris;London;Berlin;Rome;Madrid;Vienna;Prague;Oslo;Lisbon;Dublin;Athens;Warsaw;Tokyo;Lima;Cairo;
Boston;Chicago;New York;Seattle;Denver;Dallas;Miami;Toronto;Sydney;Perth;Mumbai;Shanghai;Osaka;
Kyoto;Hamburg;Munich;Cologne;Bremen;Leipzig;Dresden;Zurich;Geneva;Basel;Milan;Naples;Turin;Venice;
Florence;Seville;Valencia;Porto;Lyon;Nice;Marseille;Ghent;Bruges;Leeds;York;Bristol;Oxford;
Cambridge;Glasgow;Edinburgh;Cardiff;Belfast;Cork;Galway;Bergen;Malmo;Turku;Gdansk;Krakow;Brno;
Graz;Salzburg;Split;Izmir;Haifa;Lagos;Durban;Mombasa;Fez;Austin;Phoenix;Portland;San Diego;
Los Angeles;San Francisco;Las Vegas;New Orleans;Detroit;Atlanta;Houston;Montreal;Vancouver;Quebec;
Rio;Salvador;Cusco;Medellin;Cali;Bangkok;Hanoi;Seoul;Busan;Delhi;Chennai;Pune;Lahore;Karachi;
Melbourne;Brisbane;Auckland;Kiel;Ulm;Bonn;Essen;Kassel;Bath;Exeter;Dover;Hull;Derby;
Stuttgart;Dortmund;Duisburg;Nuremberg;Hanover;Mannheim;Mainz;Freiburg;Erfurt;Rostock;Potsdam;
Heidelberg;Augsburg;Aachen;Bielefeld;Bochum;Chemnitz;Cottbus;Darmstadt;Flensburg;Fulda;Gera;Halle;
Jena;Koblenz;Konstanz;Lübeck;München;Köln;Düsseldorf;Münster;Würzburg;Göttingen;Osnabrück;Passau;
Regensburg;Saarbrücken;Schwerin;Siegen;Trier;Tübingen;Weimar;Wiesbaden;Wolfsburg;Worms;Zwickau;
Frankfurt;Bamberg;Bayreuth;Baden-Baden;Linz;Innsbruck;Klagenfurt;Villach;Bregenz;Lucerne;Lausanne;
Lugano;Winterthur;Zürich;Saint Gallen;Chur;Thun;Manchester;Liverpool;Birmingham;Sheffield;Newcastle;
Nottingham;Leicester;Coventry;Bradford;Sunderland;Brighton;Plymouth;Portsmouth;Southampton;Reading;
Luton;Bolton;Norwich;Ipswich;Swindon;Gloucester;Worcester;Durham;Lincoln;Chester;Lancaster;Carlisle;
Canterbury;Winchester;Salisbury;Wells;Truro;Penzance;Falmouth;Torquay;Bournemouth;Poole;Blackpool;
Preston;Wigan;Warrington;Stockport;Oldham;Rochdale;Huddersfield;Halifax;Wakefield;Doncaster;
Rotherham;Barnsley;Grimsby;Scarborough;Whitby;Harrogate;Peterborough;Northampton;Bedford;Colchester;
Southend-on-Sea;Stratford-upon-Avon;Stoke-on-Trent;Milton Keynes;Hastings;Eastbourne;Folkestone;
Aberdeen;Dundee;Inverness;Perth;Stirling;Paisley;Swansea;Newport;Wrexham;Bangor;Derry;Lisburn;Newry;
Limerick;Waterford;Kilkenny;Sligo;Tralee;Drogheda;Lille;Bordeaux;Toulouse;Nantes;Strasbourg;Rennes;
Reims;Dijon;Grenoble;Angers;Nîmes;Tours;Orléans;Rouen;Caen;Metz;Nancy;Brest;Limoges;Amiens;
Perpignan;Avignon;Cannes;Calais;Poitiers;La Rochelle;Le Havre;Le Mans;Saint-Étienne;Aix-en-Provence;
Clermont-Ferrand;Montpellier;Annecy;Colmar;Besançon;Pau;Bayonne;Biarritz;Antwerp;Liège;Namur;
Leuven;Mechelen;Ostend;Charleroi;Rotterdam;Utrecht;Eindhoven;Groningen;Tilburg;Breda;Nijmegen;
The Hague;Delft;Leiden;Haarlem;Arnhem;Maastricht;Zwolle;Gouda;Barcelona;Bilbao;Granada;Malaga;
Murcia;Zaragoza;Salamanca;Toledo;Córdoba;Alicante;Cádiz;Vigo;Gijón;Pamplona;San Sebastián;
Santander;Burgos;León;Girona;Almería;A Coruña;Valladolid;Coimbra;Braga;Faro;Évora;Aveiro;Sintra;
Bologna;Genoa;Palermo;Catania;Bari;Verona;Padua;Trieste;Pisa;Siena;Perugia;Parma;Modena;Ferrara;
Ravenna;Rimini;Bergamo;Brescia;Lecce;Cagliari;L'Aquila;Reggio Emilia;La Spezia;Lucca;Mantua;
Thessaloniki;Patras;Heraklion;Corfu;Rhodes;Larissa;Volos;Chania;Aarhus;Odense;Aalborg;Esbjerg;
Gothenburg;Uppsala;Lund;Umeå;Malmö;Göteborg;Örebro;Luleå;Kiruna;Visby;Linköping;Västerås;Trondheim;
Stavanger;Tromsø;Bodø;Drammen;Ålesund;Narvik;Hammerfest;Tampere;Espoo;Oulu;Rovaniemi;Kuopio;Vaasa;
Akureyri;Tartu;Narva;Pärnu;Daugavpils;Jurmala;Kaunas;Klaipeda;Wroclaw;Poznan;Lodz;Lublin;Szczecin;
Katowice;Torun;Gdynia;Zakopane;Łódź;Kraków;Gdańsk;Ostrava;Plzen;Olomouc;Liberec;Košice;Nitra;
Debrecen;Szeged;Pécs;Győr;Miskolc;Eger;Cluj;Cluj-Napoca;Timisoara;Iasi;Brasov;Sibiu;Constanta;
Plovdiv;Varna;Burgas;Novi Sad;Nis;Subotica;Rijeka;Zadar;Dubrovnik;Osijek;Pula;Mostar;Tuzla;Maribor;
Kotor;Ohrid;Bitola;Durres;Shkodra;Istanbul;Antalya;Bursa;Konya;Adana;Trabzon;Odesa;Lviv;Kharkiv;
Dnipro;Chernihiv;Poltava;Brest;Gomel;Grodno;Kazan;Omsk;Tomsk;Perm;Samara;Tula;Sochi;Irkutsk;
Novosibirsk;Yekaterinburg;Vladivostok;Murmansk;Saint Petersburg;Rostov-on-Don;Philadelphia;
San Antonio;San José;Jacksonville;Columbus;Charlotte;Indianapolis;Fort Worth;El Paso;Nashville;
Memphis;Louisville;Baltimore;Milwaukee;Albuquerque;Tucson;Fresno;Sacramento;Kansas City;Omaha;
Colorado Springs;Raleigh;Long Beach;Virginia Beach;Oakland;Minneapolis;Tulsa;Tampa;Arlington;
Wichita;Cleveland;Honolulu;Anchorage;Juneau;Fairbanks;Cincinnati;Pittsburgh;Buffalo;Rochester;
Syracuse;Albany;Hartford;Providence;New Haven;Springfield;Burlington;Concord;Augusta;Bangor;
Richmond;Norfolk;Charleston;Savannah;Macon;Mobile;Montgomery;Jackson;Baton Rouge;Little Rock;
Des Moines;Sioux Falls;Fargo;Bismarck;Billings;Boise;Spokane;Tacoma;Eugene;Salem;Reno;Provo;
Salt Lake City;Santa Fe;Santa Barbara;Santa Cruz;Palo Alto;Berkeley;Pasadena;Bakersfield;Stockton;
Flagstaff;Laredo;Lubbock;Amarillo;Waco;Galveston;Saint Louis;Saint Paul;Duluth;Madison;Green Bay;
Peoria;Gary;South Bend;Fort Wayne;Ann Arbor;Flint;Grand Rapids;Toledo;Akron;Dayton;Erie;Scranton;
Trenton;Newark;Princeton;Wilmington;Annapolis;Key West;Orlando;Naples;Tallahassee;Pensacola;
Coeur d'Alene;O'Fallon;Winston-Salem;Calgary;Edmonton;Winnipeg;Regina;Saskatoon;Victoria;Kelowna;
Hamilton;London;Kingston;Windsor;Sudbury;Thunder Bay;Moncton;Fredericton;St. John's;Whitehorse;
Yellowknife;Iqaluit;Québec;Montréal;Trois-Rivières;Medicine Hat;Moose Jaw;Guadalajara;Monterrey;
Puebla;Tijuana;Cancún;Mérida;Oaxaca;León;Veracruz;Acapulco;Querétaro;Holguín;Santiago de Cuba;
Antigua;León;Cartagena;Barranquilla;Guayaquil;Cuenca;Arequipa;Trujillo;Iquitos;La Paz;Cochabamba;
Santa Cruz;Potosí;Valparaíso;Concepción;Temuco;Punta Arenas;Mendoza;Rosario;Salta;Ushuaia;
Bariloche;Córdoba;Tucumán;Mar del Plata;Salto;Encarnación;São Paulo;Rio de Janeiro;Recife;
Fortaleza;Belém;Manaus;Curitiba;Porto Alegre;Belo Horizonte;Florianópolis;Natal;Maceió;Goiânia;
Santos;Campinas;Maracaibo;Valencia;Alexandria;Luxor;Aswan;Giza;Port Said;Suez;Casablanca;Marrakesh;
Tangier;Agadir;Meknes;Oran;Constantine;Sfax;Sousse;Benghazi;Tobruk;Timbuktu;
Kano;Ibadan;Port Harcourt;
Kaduna;Enugu;Kumasi;Tamale;Cape Coast;Abidjan;Bouaké;Douala;Pointe-Noire;Lubumbashi;Goma;Kisumu;
Nakuru;Arusha;Dar es Salaam;Zanzibar;Entebbe;Jinja;Bulawayo;Ndola;Livingstone;Blantyre;Beira;
Cape Town;Johannesburg;Port Elizabeth;Bloemfontein;Soweto;Polokwane;Walvis Bay;Swakopmund;Gondar;
Lalibela;Hargeisa;Port Sudan;Tel Aviv;Jaffa;Nazareth;Hebron;Aleppo;Homs;Petra;Aqaba;Mosul;Basra;
Erbil;Tabriz;Isfahan;Shiraz;Mashhad;Qom;Jeddah;Mecca;Medina;Dammam;Dubai;Sharjah;Salalah;Aden;
Taiz;Almaty;Samarkand;Bukhara;Khiva;Osh;Herat;Kandahar;Peshawar;Multan;Quetta;Bangalore;Kolkata;
Hyderabad;Jaipur;Lucknow;Kanpur;Nagpur;Indore;Bhopal;Surat;Agra;Varanasi;Amritsar;Mysore;Kochi;
Goa;Shimla;Udaipur;Pondicherry;Darjeeling;Kandy;Galle;Jaffna;Pokhara;Chittagong;Sylhet;Mandalay;
Bagan;Yangon;Chiang Mai;Phuket;Pattaya;Ayutthaya;Luang Prabang;Siem Reap;
Battambang;Ho Chi Minh City;
Da Nang;Hué;Haiphong;Penang;Johor Bahru;Malacca;Ipoh;Kuching;Bandung;Surabaya;Medan;Yogyakarta;
Denpasar;Makassar;Cebu;Davao;Quezon City;Baguio;Hong Kong;Macau;Guangzhou;Shenzhen;Chengdu;Wuhan;
Xi'an;Nanjing;Hangzhou;Tianjin;Harbin;Qingdao;Suzhou;Kunming;Lhasa;Urumqi;Dalian;Xiamen;Kaohsiung;
Tainan;Taichung;Incheon;Daegu;Daejeon;Gwangju;Jeju;Yokohama;Nagoya;Sapporo;Fukuoka;Kobe;Sendai;
Hiroshima;Nagasaki;Nara;Kanazawa;Naha;Adelaide;Hobart;Darwin;Cairns;Gold Coast;Newcastle;
Wollongong;Geelong;Alice Springs;Ballarat;Broome;Christchurch;Dunedin;Hamilton;Queenstown;Rotorua;
Napier;Nelson;Nadi;Papeete;Nouméa
""".replace("\n", "").split(";")]

# ---- made-up words -------------------------------------------------------------------------

_ONSETS = (
    "b br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sm sn "
    "sp st str t th tr v w y z"
).split() + [""]
_VOWELS = "a a a e e e i i o o u u ai au ea ee ia ie io oa oo ou y".split()
_CODAS = "n n r r l l s m t d k x ck ld lf lm nd ng nk nt rd rk rn rt sh sk st th ss ll".split()
_PLAIN_ENDS = ("land man son er en el in on y ie o a us or is and ing ness less ful let ling dom"
               " way ward side house hill stone wood field water light sea day night rose"
               " bell").split()
# Ordinary words that serve as names, so that any token may have to be copied.
_WORDS = (
    "nice hope rose will mark grace bath reading split hull cork welcome good happy blue"
    " red green king queen fox wolf bear star moon sun sky river lake stone gold silver"
    " iron north west summer winter spring autumn may june april august friday sunday"
    " story song bell drum key crown hello home house road bread honey apple pepper ginger"
    " olive ivy storm rain snow wind fire light night day time little old new great long"
    " brave kind quiet lucky").split()
_TOWN_STARTS = ("New Old Upper Lower Great Little Port Saint North South East West Mount"
                " Fort").split()
_TOWN_ENDS = (
    "ford ton ham wick dale bury field mouth haven bridge port mere wood stead by ville "
    "burg stadt berg heim ia ona ara"
).split()


def _syllable(r: Random, coda: float) -> str:
    text = r.choice(_ONSETS) + r.choice(_VOWELS)
    return text + r.choice(_CODAS) if r.random() < coda else text


def made_up_word(r: Random) -> str:
    """A lower-case word of one to three random syllables, three letters or more."""
    while True:
        n = r.choice((1, 2, 2, 2, 2, 3, 3))
        word = "".join(_syllable(r, 0.25) for _ in range(n - 1)) + _syllable(r, 0.55)
        if 3 <= len(word) <= 10:
            return word


def _odd_string(r: Random) -> str:
    """Letters without any syllable structure, so that copying is learnt for every piece."""
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 7)))


def _real_word(r: Random) -> str:
    """A capitalised word from any of the lists of names and places."""
    row = r.choice((REAL_NAMES, REAL_CITIES, REAL_CITIES, SURNAMES, COUNTRIES))
    word = r.choice(row)
    if isinstance(word, tuple):
        word = capitalised(r.choice(word[:2]).replace("the ", ""))
    return r.choice(str(word).split())


def _altered(r: Random, word: str) -> str:
    """A real name with another end, so that its beginning says nothing about the rest."""
    head, roll = word.split()[0], r.random()
    most = len(head) if r.random() < 0.6 else max(2, len(head) - 1)
    head = head[:r.randint(min(2, len(head)), most)]
    if roll < 0.35:
        return head + _syllable(r, 0.6)
    if roll < 0.60:
        return head + r.choice(_TOWN_ENDS + _PLAIN_ENDS)
    if roll < 0.70:
        return head + _odd_string(r)[:4]
    other = _real_word(r).lower()
    return (head + other[r.randint(1, max(1, len(other) - 2)):])[:14]


_MARKED = {"a": "áàâäãåā", "e": "éèêëēę", "i": "íìîïī", "o": "óòôöõøō", "u": "úùûüū", "n": "ñńň",
           "c": "çćč", "s": "šśş", "z": "žżź", "l": "ł", "y": "ýÿ", "r": "ř", "g": "ğ", "t": "ț"}


def _accented(r: Random, word: str) -> str:
    """The word with a mark on one or two of its letters."""
    for _ in range(r.choice((1, 1, 2))):
        places = [i for i, c in enumerate(word) if c in _MARKED]
        if places:
            at = r.choice(places)
            word = word[:at] + r.choice(_MARKED[word[at]]) + word[at + 1:]
    return word


def _part(r: Random) -> str:
    return made_up_word(r).capitalize() if r.random() < 0.5 else _real_word(r)


def _joined(r: Random) -> str:
    """Two words joined as names are: Jean-Luc, O'Brien, McGregor, Mary Ann."""
    return r.choice((
        _part(r) + "-" + _part(r), _part(r) + " " + _part(r),
        r.choice("O D L N".split()) + "'" + _part(r),
        r.choice("Mc Mac De Le Di Van".split()) + _part(r),
        _part(r)[:4] + "'" + made_up_word(r)[:5]))


def any_name(r: Random) -> str:
    """A first name, held out or not: some real, mostly made up or altered, a few odd ones."""
    roll = r.random()
    if roll < 0.36:
        return r.choice(REAL_NAMES)
    if roll < 0.39:
        return r.choice(ACCENTED_NAMES)
    if roll < 0.41:
        return r.choice(JOINED_NAMES)
    if roll < 0.43:
        return _joined(r)
    if roll < 0.48:
        return _odd_string(r).capitalize()
    if roll < 0.60:
        return _altered(r, _real_word(r) if r.random() < 0.4 else r.choice(REAL_NAMES))
    if roll < 0.64:
        return r.choice(_WORDS).capitalize()
    if roll < 0.67:
        return r.choice(REAL_CITIES).split()[0]
    if roll < 0.69:
        return r.choice(SURNAMES)
    if roll < 0.71:
        return _accented(r, made_up_word(r)).capitalize()
    return made_up_word(r).capitalize()


def any_town(r: Random) -> str:
    """A village or town name of the made-up kind, held out or not."""
    roll = r.random()
    if roll > 0.94:
        return r.choice(_TOWN_STARTS) + " " + made_up_word(r).capitalize()
    if roll > 0.90:
        return _altered(r, r.choice(REAL_CITIES))
    if roll < 0.45:
        return (made_up_word(r)[:6] + r.choice(_TOWN_ENDS)).capitalize()
    if roll < 0.60:
        head = r.choice(
            "oak ash elm mill stone black white green red silver king queen fox wolf "
            "hare crow deer swan lake moss rose north south east west bright deep "
            "long high low old new winter summer thorn apple honey sand salt iron".split()
        )
        return (head + r.choice(_TOWN_ENDS)).capitalize()
    return made_up_word(r).capitalize()


def _two_words(r: Random) -> str:
    """A town of several words, as there are many: San X, X City, X-on-Y, X's Y."""
    x, y = _part(r), _part(r)
    start = r.choice("San Santa Saint St. São Los Las La Le Port New Fort El Mount Bad"
                     " Puerto".split())
    return r.choice((
        f"{start} {x}", f"{start} {x}", f"{x} {y}", f"{x} " + r.choice(
            "City Springs Falls Beach Bay Hill Town Park Lake Cove".split()), f"{x}-{y}",
        f"{x}-" + r.choice("on sur am upon en de".split()) + f"-{y}", f"Saint-{x}", f"L'{x}",
        f"{x} de {y}", f"{x}'s {r.choice(_WORDS).capitalize()}"))


def any_city(r: Random) -> str:
    """A city as people give it for their home: real ones, capitals and made-up ones."""
    roll = r.random()
    if roll < 0.34:
        return r.choice(REAL_CITIES)
    if roll < 0.39:
        return r.choice(COUNTRIES)[1]
    if roll < 0.43:
        return r.choice(_WORDS).capitalize()
    if roll < 0.63:
        return _altered(r, _real_word(r) if r.random() < 0.4 else r.choice(REAL_CITIES))
    if roll < 0.68:
        return _odd_string(r).capitalize()
    if roll < 0.75:
        return _two_words(r)
    if roll < 0.79:
        return r.choice(REAL_NAMES)
    if roll < 0.81:
        return _accented(r, made_up_word(r)).capitalize()
    return any_town(r)


def _rude(name: str) -> bool:
    return any(part in name.lower() for part in ("shit", "fuck", "cunt", "nazi", "nigg", "hitler"))


def _train_only(make: Callable[[Random], str]) -> Callable[[Random], str]:
    def draw(r: Random) -> str:
        while True:
            name = make(r)
            if not held_out(name) and not _rude(name):
                return name

    return draw


def _test_only(make: Callable[[Random], str]) -> Callable[[Random], str]:
    def draw(r: Random) -> str:
        while True:
            name = make(r)
            if held_out(name) and not _rude(name):
                return name

    return draw


def one_word_name(r: Random) -> str:
    """A name for the heroes of stories: letters only."""
    while True:
        result = name(r)
        if result.isalpha() and ord(result[0]) < 0x180:
            return result


name, town, city = _train_only(any_name), _train_only(any_town), _train_only(any_city)
test_name, test_town, test_city = (_test_only(any_name), _test_only(any_town), _test_only(any_city))


def full_name(r: Random) -> str:
    """A name with a surname, for those who give both."""
    last = r.choice(SURNAMES) if r.random() < 0.5 else name(r)
    return name(r) + " " + last


# ---- things and what is known about them ---------------------------------------------------

COLOURS = "red blue green yellow black white brown pink purple orange grey gold silver".split()

# What has which colour, with the article it takes and whether it is plural.
COLOUR_OF: Dict[str, str] = {
    "the sky": "blue",
    "the sea": "blue",
    "the sun": "yellow",
    "the moon": "white",
    "grass": "green",
    "snow": "white",
    "blood": "red",
    "milk": "white",
    "coal": "black",
    "a lemon": "yellow",
    "a banana": "yellow",
    "a tomato": "red",
    "a cherry": "red",
    "a strawberry": "red",
    "a carrot": "orange",
    "a pumpkin": "orange",
    "a frog": "green",
    "a leaf": "green",
    "a cucumber": "green",
    "chocolate": "brown",
    "wood": "brown",
    "a swan": "white",
    "a crow": "black",
    "a raven": "black",
    "a flamingo": "pink",
    "a pig": "pink",
    "a fox": "red",
    "an elephant": "grey",
    "a mouse": "grey",
    "a bear": "brown",
    "gold": "yellow",
    "sand": "yellow",
    "the night": "black",
    "a cloud": "white",
    "a plum": "purple",
    "a pea": "green",
    "butter": "yellow",
    "salt": "white",
    "ink": "black",
    "a fire engine": "red",
    "an orange": "orange",
    "a rose": "red",
    "paper": "white",
    "a canary": "yellow",
    "earth": "brown",
    "a cactus": "green",
    "a violet": "purple",
}

# animal: (sound, home, food, young, kind, legs, plural)
ANIMALS: Dict[str, Tuple[str, str, str, str, str, int, str]] = {
    "dog": ("woof", "a house", "meat", "a puppy", "mammal", 4, "dogs"),
    "cat": ("meow", "a house", "fish and mice", "a kitten", "mammal", 4, "cats"),
    "cow": ("moo", "a farm", "grass", "a calf", "mammal", 4, "cows"),
    "sheep": ("baa", "a farm", "grass", "a lamb", "mammal", 4, "sheep"),
    "pig": ("oink", "a farm", "almost anything", "a piglet", "mammal", 4, "pigs"),
    "horse": ("neigh", "a stable", "grass and hay", "a foal", "mammal", 4, "horses"),
    "goat": ("baa", "a farm", "leaves and grass", "a kid", "mammal", 4, "goats"),
    "duck": ("quack", "a pond", "plants and worms", "a duckling", "bird", 2, "ducks"),
    "hen": ("cluck", "a farm", "grain", "a chick", "bird", 2, "hens"),
    "owl": ("hoot", "a tree", "mice", "an owlet", "bird", 2, "owls"),
    "crow": ("caw", "a tree", "seeds and worms", "a chick", "bird", 2, "crows"),
    "lion": ("roar", "the grassland", "meat", "a cub", "mammal", 4, "lions"),
    "tiger": ("roar", "the jungle", "meat", "a cub", "mammal", 4, "tigers"),
    "wolf": ("howl", "the forest", "meat", "a pup", "mammal", 4, "wolves"),
    "bear": ("growl", "the forest", "fish and honey", "a cub", "mammal", 4, "bears"),
    "fox": ("yap", "the forest", "mice", "a cub", "mammal", 4, "foxes"),
    "frog": ("croak", "a pond", "flies", "a tadpole", "amphibian", 4, "frogs"),
    "mouse": ("squeak", "a hole", "seeds and cheese", "a pup", "mammal", 4, "mice"),
    "bee": ("buzz", "a hive", "nectar", "a larva", "insect", 6, "bees"),
    "snake": ("hiss", "the grass", "mice", "a snakelet", "reptile", 0, "snakes"),
    "spider": ("", "a web", "flies", "a spiderling", "arachnid", 8, "spiders"),
    "ant": ("", "a nest", "crumbs", "a larva", "insect", 6, "ants"),
    "fish": ("", "the water", "plants and worms", "a fry", "fish", 0, "fish"),
    "whale": ("", "the sea", "krill", "a calf", "mammal", 0, "whales"),
    "eagle": (
        "screech",
        "the mountains",
        "fish and small animals",
        "an eaglet",
        "bird",
        2,
        "eagles",
    ),
    "elephant": (
        "trumpet",
        "the grassland",
        "leaves and grass",
        "a calf",
        "mammal",
        4,
        "elephants",
    ),
    "rabbit": ("", "a burrow", "grass and carrots", "a kit", "mammal", 4, "rabbits"),
    "deer": ("", "the forest", "leaves and grass", "a fawn", "mammal", 4, "deer"),
    "penguin": ("", "the ice", "fish", "a chick", "bird", 2, "penguins"),
    "camel": ("", "the desert", "dry grass", "a calf", "mammal", 4, "camels"),
    "monkey": ("chatter", "the jungle", "fruit", "an infant", "mammal", 4, "monkeys"),
    "hedgehog": ("", "a hedge", "worms", "a hoglet", "mammal", 4, "hedgehogs"),
    "butterfly": ("", "a meadow", "nectar", "a caterpillar", "insect", 6, "butterflies"),
    "donkey": ("hee-haw", "a stable", "grass and hay", "a foal", "mammal", 4, "donkeys"),
    "turtle": ("", "the water", "plants", "a hatchling", "reptile", 4, "turtles"),
}

# What common things are: key as asked for, sentence as answered.
WHAT_IS: Dict[str, str] = {
    "Python": "Python is a programming language.",
    "Lua": "Lua is a small programming language.",
    "C": "C is a programming language.",
    "Java": "Java is a programming language.",
    "Perilune": "Perilune is a program that runs language models.",
    "Linux": "Linux is an operating system.",
    "JSON": "JSON is a way to write data as text.",
    "the internet": "The internet is a network of many computers.",
    "a computer": "A computer is a machine that follows programs.",
    "a program": "A program is a list of steps for a computer.",
    "a language model": "A language model is a program that predicts the next word.",
    "a token": "A token is a small piece of text.",
    "a robot": "A robot is a machine that can do work by itself.",
    "a phone": "A phone is a machine for talking to people far away.",
    "the sun": "The sun is a star that gives us light and heat.",
    "the moon": "The moon is a ball of rock that goes around the earth.",
    "the earth": "The earth is the planet that we live on.",
    "a star": "A star is a hot ball of gas far away in the sky.",
    "a planet": "A planet is a large ball that goes around a star.",
    "a country": "A country is a land with its own government.",
    "a capital": "A capital is the city where a country is governed.",
    "a city": "A city is a large town.",
    "a village": "A village is a small group of houses.",
    "a river": "A river is a long stream of water.",
    "a lake": "A lake is a large body of water with land around it.",
    "the sea": "The sea is the salt water that covers much of the earth.",
    "an island": "An island is land with water all around it.",
    "a mountain": "A mountain is a very high hill.",
    "a hill": "A hill is a piece of high ground.",
    "a forest": "A forest is a place with many trees.",
    "a desert": "A desert is a dry place with little rain.",
    "a tree": "A tree is a tall plant with a trunk and branches.",
    "a flower": "A flower is the pretty part of a plant.",
    "a plant": "A plant is a living thing that grows in the ground.",
    "an animal": "An animal is a living thing that can move and eat.",
    "a mammal": "A mammal is an animal that feeds its young with milk.",
    "a bird": "A bird is an animal with feathers and wings.",
    "a fish": "A fish is an animal that lives in the water.",
    "an insect": "An insect is a small animal with six legs.",
    "a reptile": "A reptile is an animal with dry scales.",
    "a dog": "A dog is an animal that lives with people.",
    "a cat": "A cat is a small animal that catches mice.",
    "a fruit": "A fruit is the sweet part of a plant.",
    "a vegetable": "A vegetable is a plant that we eat.",
    "an apple": "An apple is a round fruit that grows on a tree.",
    "bread": "Bread is food made from flour and water.",
    "cheese": "Cheese is food made from milk.",
    "honey": "Honey is a sweet food made by bees.",
    "milk": "Milk is a white drink that comes from cows.",
    "water": "Water is a clear liquid that we drink.",
    "ice": "Ice is frozen water.",
    "snow": "Snow is frozen water that falls from the sky.",
    "rain": "Rain is water that falls from the clouds.",
    "a cloud": "A cloud is a mass of tiny drops of water in the sky.",
    "wind": "Wind is moving air.",
    "fire": "Fire is the light and heat of something that burns.",
    "gold": "Gold is a yellow metal.",
    "iron": "Iron is a strong grey metal.",
    "a metal": "A metal is a hard and shiny material.",
    "a stone": "A stone is a small piece of rock.",
    "a book": "A book is many pages of text held together.",
    "a story": "A story is a tale about things that happen.",
    "a word": "A word is a group of letters with a meaning.",
    "a letter": "A letter is a sign that stands for a sound.",
    "a number": "A number is a word or sign for how many.",
    "a pencil": "A pencil is a tool for writing and drawing.",
    "a hammer": "A hammer is a tool for hitting nails.",
    "a knife": "A knife is a tool for cutting.",
    "a tool": "A tool is a thing that helps us do work.",
    "a key": "A key is a thing that opens a lock.",
    "a door": "A door is the part of a house that opens and shuts.",
    "a house": "A house is a building where people live.",
    "a bridge": "A bridge is a way over a river or a road.",
    "a boat": "A boat is a thing that carries people over water.",
    "a car": "A car is a machine that drives on the road.",
    "a train": "A train is a long machine that drives on rails.",
    "a bicycle": "A bicycle is a thing with two wheels that you ride.",
    "a clock": "A clock is a machine that shows the time.",
    "a lamp": "A lamp is a thing that gives light.",
    "a chair": "A chair is a thing to sit on.",
    "a table": "A table is a flat thing on legs.",
    "a bed": "A bed is a thing to sleep on.",
    "a school": "A school is a place where children learn.",
    "a doctor": "A doctor is a person who helps sick people.",
    "a teacher": "A teacher is a person who helps others to learn.",
    "a baker": "A baker is a person who makes bread.",
    "a blacksmith": "A blacksmith is a person who makes things of iron.",
    "a farmer": "A farmer is a person who grows food.",
    "a sailor": "A sailor is a person who works on a ship.",
    "a king": "A king is a man who rules a country.",
    "a queen": "A queen is a woman who rules a country.",
    "a friend": "A friend is a person you like and trust.",
    "music": "Music is sound that is nice to hear.",
    "a song": "A song is music with words.",
    "a drum": "A drum is a thing that you hit to make music.",
    "a game": "A game is something that we play for fun.",
    "a colour": "A colour is how light looks to the eye.",
    "a season": "A season is one of the four parts of the year.",
    "a year": "A year is the time the earth needs to go around the sun.",
    "a week": "A week is seven days.",
    "a day": "A day is twenty-four hours.",
    "an hour": "An hour is sixty minutes.",
    "a horse": "A horse is a large animal that people ride.",
    "a cow": "A cow is an animal that gives milk.",
    "a bee": "A bee is an insect that makes honey.",
    "a snake": "A snake is a reptile without legs.",
    "a whale": "A whale is a very large mammal that lives in the sea.",
    "a dragon": "A dragon is an animal of stories that breathes fire.",
    "a wizard": "A wizard is a man of stories who knows magic.",
    "a banana": "A banana is a long yellow fruit.",
    "a tomato": "A tomato is a soft red fruit.",
    "a potato": "A potato is a vegetable that grows under the ground.",
    "sugar": "Sugar is a sweet white food.",
    "salt": "Salt is a white thing that we put on food.",
    "tea": "Tea is a hot drink made from leaves.",
    "coffee": "Coffee is a hot drink made from beans.",
    "pizza": "Pizza is flat bread with cheese on it.",
    "soup": "Soup is hot food that we eat with a spoon.",
    "an egg": "An egg is a round thing that a bird lays.",
    "wood": "Wood is what trees are made of.",
    "glass": "Glass is a hard material that we can see through.",
    "paper": "Paper is a thin material to write on.",
    "air": "Air is what we breathe.",
    "light": "Light is what lets us see.",
    "a shadow": "A shadow is a dark place behind something that stops the light.",
    "a window": "A window is an opening with glass in a wall.",
    "a garden": "A garden is a piece of land where plants grow.",
    "a road": "A road is a way for cars and people.",
    "a ship": "A ship is a large boat.",
    "a plane": "A plane is a machine that flies.",
    "a shop": "A shop is a place where you can buy things.",
    "a market": "A market is a place where many people sell things.",
    "a library": "A library is a place with many books.",
    "a castle": "A castle is a large house with strong walls.",
    "a map": "A map is a picture of a place.",
    "money": "Money is what we pay with.",
    "a coin": "A coin is a round piece of metal that is used as money.",
    "a nurse": "A nurse is a person who cares for sick people.",
    "a cook": "A cook is a person who makes food.",
    "a pilot": "A pilot is a person who flies a plane.",
    "a family": "A family is a group of parents and children.",
    "a child": "A child is a young person.",
    "a question": "A question is what we ask when we want to know something.",
    "a language": "A language is the words that people use to talk.",
    "a dream": "A dream is what we see when we sleep.",
    "winter": "Winter is the cold season.",
    "summer": "Summer is the hot season.",
    "spring": "Spring is the season when flowers bloom.",
    "autumn": "Autumn is the season when leaves fall.",
    "a cave": "A cave is a hole in a rock or a hill.",
    "a volcano": "A volcano is a mountain that throws out fire.",
    "the sky": "The sky is what we see above us.",
    "electricity": "Electricity is the power that runs lamps and machines.",
    "a compiler": "A compiler is a program that turns source text into machine code.",
    "a cache": "A cache is a place that keeps what will be needed again.",
    "a file": "A file is a named piece of data on a computer.",
    "a keyboard": "A keyboard is a set of keys for typing.",
    "a script": "A script is a small program.",
    "a sword": "A sword is a long blade for fighting.",
    "a shield": "A shield is a thing that protects you in a fight.",
    "a minute": "A minute is sixty seconds.",
}

# What is asked for more often: things with examples, and what a programmer tries first.
ASKED_MOST: List[str] = []

# category (as in WHAT_IS): examples, each a noun with its article
EXAMPLES: Dict[str, List[str]] = {
    "a language": ["English", "French", "Spanish"],
    "an island": ["Iceland", "Malta", "Cuba"],
    "a mountain": ["Mount Everest", "Mont Blanc"],
    "a star": ["the sun", "Sirius"],
    "a program": ["Perilune", "a game"],
    "a plant": ["a tree", "grass", "a flower"],
    "a letter": ["A", "B", "C"],
    "a stone": ["a ruby", "a diamond"],
    "a desert": ["the Sahara", "the Gobi"],
    "a lake": ["Lake Victoria", "Lake Geneva"],
    "a fruit": ["an apple", "a pear", "a banana", "a cherry", "a plum"],
    "a vegetable": ["a carrot", "a pea", "a potato", "an onion"],
    "an animal": ["a dog", "a horse", "a lion", "a fox"],
    "a mammal": ["a cow", "a whale", "a horse", "a mouse"],
    "a bird": ["an owl", "a duck", "an eagle", "a crow"],
    "an insect": ["a bee", "an ant", "a butterfly"],
    "a reptile": ["a snake", "a turtle"],
    "a tool": ["a hammer", "a knife", "a pencil"],
    "a metal": ["gold", "iron", "silver"],
    "a colour": ["red", "blue", "green"],
    "a season": ["spring", "summer", "autumn", "winter"],
    "a country": ["France", "Spain", "Japan", "Egypt"],
    "a city": ["Paris", "Rome", "Tokyo", "Cairo"],
    "a capital": ["Paris", "Madrid", "Berlin", "Oslo"],
    "a planet": ["the earth", "Mars", "Venus"],
    "a flower": ["a rose", "a violet", "a lily"],
    "a tree": ["an oak", "a pine", "an apple tree"],
    "a fish": ["a trout", "a salmon", "a carp"],
    "a number": ["seven", "twelve", "three"],
    "a word": ["house", "tree", "dog"],
    "a game": ["chess", "hide and seek"],
    "a river": ["the Nile", "the Rhine", "the Danube"],
}

ASKED_MOST += ["Python"] * 8 + ["Lua"] * 4 + ["Perilune", "C", "JSON"] + 2 * [
    kind for kind in EXAMPLES if kind in WHAT_IS]

SEASONS: List[Tuple[str, str, str, List[str]]] = [
    ("spring", "mild", "flowers bloom", ["March", "April", "May"]),
    ("summer", "hot", "the days are long", ["June", "July", "August"]),
    ("autumn", "cool", "leaves fall", ["September", "October", "November"]),
    ("winter", "cold", "snow falls", ["December", "January", "February"]),
]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()

OPPOSITES: Dict[str, str] = dict(
    pair.split("-")
    for pair in (
        "hot-cold big-small tall-short fast-slow old-young happy-sad light-dark good-bad day-night"
        " up-down left-right open-closed full-empty wet-dry hard-soft loud-quiet rich-poor"
        " early-late high-low long-short strong-weak near-far clean-dirty thick-thin true-false"
        " north-south east-west first-last"
    ).split()
)

JOBS: Dict[str, List[str]] = {  # job: goods in the plural
    "blacksmith": ["swords", "axes", "shields", "helmets", "horseshoes", "knives"],
    "baker": ["bread rolls", "cakes", "pies", "buns", "loaves"],
    "farmer": ["eggs", "apples", "carrots", "pumpkins", "cheeses"],
    "tailor": ["coats", "hats", "cloaks", "shirts", "gloves"],
    "potter": ["pots", "bowls", "cups", "jugs"],
    "fisher": ["fish", "nets", "crabs", "shells"],
    "witch": ["potions", "charms", "herbs", "candles"],
    "merchant": ["maps", "lamps", "ropes", "spices", "silks"],
    "innkeeper": ["rooms", "meals", "soups", "drinks"],
    "carpenter": ["chairs", "tables", "beds", "wooden toys"],
    "hunter": ["furs", "bows", "arrows", "traps"],
    "jeweller": ["rings", "crowns", "necklaces", "pearls"],
    "bookseller": ["books", "scrolls", "maps", "pens"],
    "gardener": ["roses", "seeds", "tulips", "trees"],
    "healer": ["potions", "bandages", "herbs", "salves"],
    "beekeeper": ["honey jars", "candles", "hives"],
    "shoemaker": ["boots", "shoes", "sandals", "slippers"],
    "wizard": ["wands", "spells", "magic rings", "scrolls"],
    "miner": ["gems", "stones", "lamps", "crystals"],
    "cook": ["stews", "pies", "soups", "sausages"],
    "shepherd": ["wool", "lambs", "blankets"],
    "stable keeper": ["horses", "saddles", "ponies"],
    "toymaker": ["dolls", "kites", "puppets", "drums"],
    "glassblower": ["bottles", "windows", "glass birds", "mirrors"],
}
PLAIN_JOBS = (
    "teacher doctor nurse pilot painter singer writer driver builder sailor cook farmer "
    "baker engineer student lawyer dancer gardener librarian programmer"
).split()
OTHER_JOBS = (
    "armourer;barber;brewer;butcher;candle maker;captain;clerk;clown;collector;courier;dentist;"
    "detective;diver;dyer;ferryman;florist;goldsmith;guard;herbalist;ice-cream seller;inventor;"
    "judge;knight;locksmith;mason;mechanic;midwife;milkmaid;monk;musician;night watchman;nun;"
    "optician;pirate;plumber;poet;porter;postman;priest;queen;ranger;robot;rope maker;sculptor;"
    "shopkeeper;smuggler;soldier;spy;swordsmith;tanner;tinker;trader;vet;waiter;weaver;"
    "wheelwright;woodcutter;zookeeper"
).split(";")
PETS = (
    "dog cat rabbit horse hamster parrot goat fish turtle pony mouse snake lizard hen duck "
    "donkey hedgehog frog"
).split()
FOODS = (
    "pizza soup bread cheese rice pasta cake apples honey fish pancakes salad chocolate "
    "noodles potatoes beans curry ice-cream pie stew"
).split()
HOBBIES = (
    "reading swimming chess painting running fishing singing dancing cooking gardening "
    "football drawing climbing riding sailing knitting"
).split()
RELATIVES = "brother sister mother father friend uncle aunt cousin son daughter teacher".split()
OBJECTS = (
    "lamp key sword rope book box coin apple bottle map knife stone torch letter ring cup "
    "bag candle hammer shield bread potion scroll mirror hat cloak flute drum feather shell "
    "crown gem axe bow shovel bucket basket blanket chain bell wand lantern"
).split()
FAVOURITES = (
    "book number animal song day season game city country drink sport fruit flower word place month"
    " bird tree toy hat film letter dish cake story planet vegetable sweet band team school"
    " subject tea"
).split()
SECRETS = (
    "code;password;secret word;room number;magic word;key number;answer;number of the house;number"
    " of the room;name of the ship;name of the inn;name of the street;name of the river;name of the"
    " king;name of the queen;secret;house number;phone number;name of the village;name of the"
    " school;name of the team;word of the day;lucky number"
).split(";")
EVENTS = (
    "party meeting train game market feast school trip wedding lesson concert exam race visit"
    " birthday match journey".split()
)
COUNTED = (
    "apples books coins cats dogs hens brothers sisters cousins hats keys horses chairs friends"
    " pens sheep fish ducks cows cakes stones".split()
)
OBJECT_ADJECTIVES = ("old rusty wooden iron small big heavy broken shiny dusty magic long strange"
                     " dark golden empty little").split()
DIRECTIONS = "north south east west up down".split()
PLACES = (
    "door gate chest window cellar tower cave bridge garden kitchen hall forest river stable "
    "temple castle library market well"
).split()


def article(noun: str) -> str:
    """The noun with the article that its first letter asks for."""
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, the rest unchanged."""
    return text[:1].upper() + text[1:]
