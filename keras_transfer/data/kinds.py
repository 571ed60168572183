"""What a scan can find: each kind with its severity and its sentence; thresholds, and where they come from."""

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)

FEW = 10  # training pictures of a class, below which even a frozen backbone's head is mostly luck (folklore)
UNEVEN, VERY_UNEVEN = 3.0, 10.0  # largest class to smallest; from ten on accuracy suffered in Buda et al. 2018
SMALL = 32  # pixels of the shorter side below which a picture is small, where most are at least four times as large
STRETCHED = 3.0  # times longer or flatter than the middle picture of the set
BLANK = 3  # grey levels that the thumbnail spans at least when something is to be seen

# kind: (severity, sentence), in the order in which they are told; errors are what `fit` refuses.
KINDS: dict[str, tuple[str, str]] = {
    "outside_classes": (ERROR, "Pictures outside the class folders have no label; move them into one or remove them."),
    "empty_class": (ERROR, "Class folders without a file; add pictures or remove the folder."),
    "unknown_class": (ERROR, "Classes of a held-out split that the training folder lacks; add training pictures."),
    "single_class": (ERROR, "A classifier needs at least two classes; add one, or pass the folder above."),
    "none_to_hold_out": (ERROR, "No class has two different pictures, so none can validate; add some, or a val split."),
    "two_labels": (ERROR, "The same picture (equal pixels) under two labels; keep it under the right one."),
    "two_splits": (ERROR, "The same picture (equal pixels) in two splits, so held-out scores flatter; remove one."),
    "empty_file": (ERROR, "Files of zero bytes; fetch them again or remove them."),
    "truncated": (ERROR, "Pictures that end too early; copy or download them again."),
    "damaged": (ERROR, "Files that begin like pictures and do not decode; restore or remove them."),
    "not_a_picture": (ERROR, "Files in no picture format; move them out of the class folders."),
    "bomb": (ERROR, "Pictures of more pixels than Pillow dares to open (PIL.Image.MAX_IMAGE_PIXELS); shrink them."),
    "unknown_range": (ERROR, "Samples of 32 bits or floating point, whose range is not known; save 8 or 16 bits."),
    "not_a_file": (ERROR, "Links to nothing, pipes or devices; remove them."),
    "bad_name": (ERROR, "File names that are not UTF-8; rename them."),
    "unreadable": (ERROR, "Files that may not be read; check their permissions."),
    "near_two_labels": (WARNING, "Nearly the same picture under two labels; keep it under the right one."),
    "near_two_splits": (WARNING, "Nearly the same picture in two splits, so held-out scores flatter; remove one."),
    "not_held_out": (WARNING, "Classes without a picture in a held-out split, so nothing is measured for them."),
    "few_pictures": (WARNING, f"Classes with fewer than {FEW} training pictures; collect more, or expect chance."),
    "similar_class_names": (WARNING, "Class names that differ in case, spaces or signs only; is it one class?"),
    "very_uneven": (WARNING, "The largest class has ten times the pictures of the smallest; weigh them: balanced."),
    "blank": (WARNING, "Pictures of a single shade; remove them."),
    "small": (WARNING, f"Pictures of less than {SMALL} pixels among much larger ones; are they thumbnails?"),
    "stretched": (WARNING, "Pictures much longer or flatter than the others; cut them, or resize by crop or pad."),
    "duplicate": (NOTE, "The same picture twice in one class and split; it counts double."),
    "near_duplicate": (NOTE, "Nearly the same picture in one class and split; it counts double."),
    "uneven": (NOTE, "The largest class has three times the pictures of the smallest; class weights may help."),
    "rotated": (NOTE, "Photos that only EXIF turns upright; they are turned here, other programs may forget it."),
    "cmyk": (NOTE, "CMYK pictures; they become RGB without their colour profile, so colours shift a little."),
    "sixteen_bit": (NOTE, "Pictures of more than 8 bits a sample; they are scaled to 8."),
    "palette": (NOTE, "Pictures with a palette of at most 256 colours; they become RGB."),
    "transparent": (NOTE, "Pictures with transparent parts; they are laid over white."),
    "animated": (NOTE, "Animations or several pages; the first frame counts."),
    "wrong_extension": (NOTE, "File names whose extension does not say the format; read by content here."),
    "ignored": (NOTE, "Files that nobody reads: hidden ones, those of the system, or beside the class folders."),
}
