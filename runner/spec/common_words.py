"""Words that no identifier should be: the model has its own idea of them (DreamBooth, section 3.2)."""

STOP_WORDS = frozenset(
    """
a an the of in on at with and or for to by from this that these those is are it its my your his her
our their some one photo photos photograph photography picture pictures image images
""".split()  # noqa: SIM905 - a block of words reads better than a list
)
"""Words of a prompt that name no subject."""

COMMON_WORDS = frozenset(
    """
able about above after again age air all also always animal any apple arm art baby back bad bag ball
band bank bar base bear beautiful bed best big bird black blue board boat body book box boy bread
bright brown bus business cake call camera car card care cat chair child city class clean clear
close cloud coat coffee cold color cool corner country cow cup cute dark day dear deep dog doll door
down draw dream dress drink dry duck early earth east easy egg end evening eye face fair fall family
farm fast father field fine fire first fish flat floor flower fly food foot forest fox free fresh
friend front fruit full fun funny game garden girl glass gold good grass gray great green grey
ground group guy hair half hand happy hard hat head heart heavy high hill home horse hot house human
ice inside island joy jump key kid kind king kitchen lady lake lamp land large last late leaf left
leg life light lion little long love low lucky man many map market max middle milk mini mirror money
monkey moon morning mother mountain mouse mouth music name near neck new nice night north nose ocean
office old open orange original own page paint panda paper park party people person pet phone piece
pig pink place plain plane plant plate play pretty prince princess purple queen quick quiet rain red
rich right ring river road robot rock room rose round salt sand school sea seat second shape sheep
ship shirt shoe shop short side silver simple single sister sky sleep slow small smile snow soft son
song soul south special spring square star station stone store storm story street strong style
summer sun super sweet table tall tea team teddy tiger time tiny top tower town toy tree true turtle
uncle under unique up voice wall warm watch water wave way west white wild wind window winter wise
wolf woman wood word world yellow yes young
""".split()  # noqa: SIM905 - a block of words reads better than a list
)
"""Everyday English words; a list of the most usual, not a dictionary."""
