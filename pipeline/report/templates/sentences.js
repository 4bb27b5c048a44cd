import { pictures } from "./pictures.js";

/* What the numbers of the page mean, in sentences that follow from them. */
export const sentences = (() => {
  const MOST_STEPS = 2000; // until twice the rates go too far
  const MOST_STILL = 10; // steps in a row that do not change the loss; with few examples a step, one may well not
  const HARDLY = 0.1; // of its difference, that an output moves by at most if it hardly moves
  const { written, counted } = pictures;

  const stepsOf = (count) => `${counted(count)} ${count === 1 ? "step" : "steps"}`;
  const timesOf = (value) => Number(value.toPrecision(3)).toLocaleString("en");

  // Say which network is shown: the one that training began with, and the steps since then.
  const describeNetwork = (name, count) => (count ? `${name} + ${stepsOf(count)}` : name);

  const describeBatch = (count) => (count === 1 ? "the next train example" : `the next ${count} train examples`);

  const isNumber = Number.isFinite;
  const lossOrInfinity = (loss) => (isNumber(loss) ? loss : Infinity);

  // Compare the falls of the loss by one step and by one with twice the rates.
  function compareFalls(now, once, twice) {
    const [fall, fallOfTwice] = [now - once, now - twice];
    const isSame = written(once) === written(twice);
    if (isSame && written(now) === written(once)) return "Twice the rates change nothing.";
    if (fall <= 0) return fall < 0 ? "The loss rises: the rates are too high here." : "";
    if (isSame) return "Twice the rates end at the same loss.";
    if (twice > once) return "Twice the rates go too far here.";
    const times = timesOf(fallOfTwice / fall);
    return `It falls by ${written(fall)}, with twice the rates by ${written(fallOfTwice)}: ${times === "1" ? "about" : `${times} times`} as far.`;
  }

  // Say where the longest step ends; losses are [times the rates, loss], and `tooMany` is how many times the rates were said to be too high.
  function describeLongest(losses, tooMany) {
    const [[, now]] = losses;
    const [times, last] = losses.at(-1);
    const [bestTimes, least] = losses.reduce((best, each) => (each[1] < best[1] ? each : best));
    const reached = `${bestTimes > tooMany ? "But at" : "At"} ${times} times the rates it ends at ${written(last)}`;
    if (written(least) === written(now)) return "None of the rates tried lowers it.";
    if (last > now) return `${reached}, above where it began.`;
    return bestTimes < times ? `${reached}; of those tried, ${bestTimes} times is best.` : `${reached}, the lowest of those tried.`;
  }

  // Say what the next step does, and what steps of other lengths would do; a loss after a step that is not finite counts as infinite.
  function describeRates(given, count) {
    const losses = given.map(([times, loss]) => [times, lossOrInfinity(loss)]);
    const [now, once, twice] = [0, 1, 2].map((times) => losses.find(([each]) => each === times)[1]);
    if (!isNumber(now)) return "";
    const numbers = [now, once, twice].map(written);
    const tooMany = once > now ? 1 : twice > once ? 2 : Infinity;
    return (
      `One step with ${describeBatch(count)} takes ${count === 1 ? "its loss" : "their mean loss"} from ${numbers[0]} to ${numbers[1]}, ` +
      `with twice the rates to ${numbers[2]}. ${compareFalls(now, once, twice)} ${describeLongest(losses, tooMany)}`
    );
  }

  // Say why training until twice the rates go too far ends here, if it does. `count` steps were taken, and the last `still` of them
  // did not change the loss of their examples.
  function describeEnd([now, once, twice], count, still) {
    if (!isNumber(now)) return "The loss is no longer a number.";
    if (!(twice <= once)) return "Here twice the rates go too far.";
    if (still >= MOST_STILL) return `The last ${stepsOf(still)} did not change the loss of their examples.`;
    return count < MOST_STEPS ? "" : `In ${stepsOf(count)} twice the rates did not go too far.`;
  }

  // Say why an error is the product of the derivative by a value, `back`, and a slope, of the unit {name, back, slope, error} with the
  // largest such derivative; `strongest` is the unit with the largest error. Nothing is said of numbers that are 0 or not finite.
  function describeProduct(layer, unit, strongest) {
    const numbers = [unit, strongest].flatMap((each) => [each.back, each.slope, each.error]);
    if (!numbers.every(isNumber) || unit.back === 0) return "";
    const [back, slope, error] = [unit.back, unit.slope, unit.error].map(written);
    const [nablaA, nablaZ] = [`∇a${layer}`, `∇z${layer}`];
    const said =
      `${unit.name} has the largest ${nablaA} in size, ${back}, and a slope of ${slope}. If its z grows by 0.001, ` +
      `its a grows by 0.001 × ${slope}, and C by ${back} times that: its ${nablaZ} is ${back} × ${slope} = ${error}.`;
    if (strongest.name === unit.name || strongest.error === 0) return said;
    const [other, itsSlope, itsError] = [strongest.back, strongest.slope, strongest.error].map(written);
    return `${said} ${strongest.name} has the largest ${nablaZ} in size, ${itsError}: its ${nablaA} is ${other} and its slope ${itsSlope}.`;
  }

  // Say how the output that was most wrong moved, and the one that moved most; an output is {name, before, after, difference, slope}, without
  // a slope if none is a factor of its error. Where two are written alike, none is said to be the most.
  function describeMoves(outputs) {
    if (!outputs.every(({ before, after }) => isNumber(before) && isNumber(after))) return "";
    const mostBy = (sizeOf) => {
      const [most, next] = [...outputs].sort((one, other) => sizeOf(other) - sizeOf(one));
      return next && written(sizeOf(most)) === written(sizeOf(next)) ? null : most;
    };
    const distance = ({ before, after }) => Math.abs(after - before);
    const worst = mostBy(({ difference }) => Math.abs(difference));
    const moved = mostBy(distance);
    const way = ({ before, after }) => `from ${written(before)} to ${written(after)}`;
    const slopeOf = ({ slope }) => (slope === undefined ? "" : `; its slope was ${written(slope)}`);
    const isHardly = worst && distance(worst) <= HARDLY * Math.abs(worst.difference);
    const said = worst && `${worst.name} was most wrong${isHardly ? ", yet hardly moved" : " and moved"}, ${way(worst)}${slopeOf(worst)}.`;
    const added = moved && moved !== worst && `${moved.name} moved most, ${way(moved)}${slopeOf(moved)}.`;
    return [said, added].filter(Boolean).join(" ");
  }

  // Say what a step of one example does to its loss; losses are those before it, after it and after one with twice the rates.
  function describeStep(rates, ...losses) {
    const [now, once, twice] = losses.map(lossOrInfinity);
    if (!isNumber(now)) return "";
    const [weights, biases, ...numbers] = [...rates, now, once, twice].map(written);
    return (
      `With rates of ${weights} for weights and ${biases} for biases, the loss of this example goes from ${numbers[0]} to ${numbers[1]}, ` +
      `with twice these rates to ${numbers[2]}. ${compareFalls(now, once, twice)}`
    );
  }

  return { describeNetwork, describeBatch, describeRates, describeEnd, describeProduct, describeMoves, describeStep };
})();
