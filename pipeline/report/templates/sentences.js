import { pictures } from "./pictures.js";

/* What the numbers of the page mean, in sentences that follow from them. */
export const sentences = (() => {
  const HARDLY = 0.1; // of its difference, that an output moves by at most if it hardly moves
  const { written, counted } = pictures;

  const stepsOf = (count) => `${counted(count)} ${count === 1 ? "step" : "steps"}`;
  const timesOf = (value) => Number(value.toPrecision(3)).toLocaleString("en");

  // Say which network is shown: the one that training began with, and the steps since then.
  const describeNetwork = (name, count) => (count ? `${name} + ${stepsOf(count)}` : name);

  const describeBatch = (count) => (count === 1 ? "the next train example" : `the next ${count} train examples`);

  // Compare the falls of the loss by one step and by one with twice the rates.
  function compareFalls(now, once, twice) {
    const [fall, fallOfTwice] = [now - once, now - twice];
    if (written(once) === written(twice)) return "Twice the rates change nothing.";
    if (fall <= 0) return "The loss rises: the rates are too high here.";
    if (twice > once) return "Twice the rates go too far here.";
    return `It falls by ${written(fall)}, with twice the rates by ${written(fallOfTwice)}: ${timesOf(fallOfTwice / fall)} times as far.`;
  }

  // Say where the longest step ends; losses are [times the rates, loss].
  function describeLongest(losses) {
    const [[, now]] = losses;
    const [times, last] = losses.at(-1);
    const [bestTimes, least] = losses.reduce((best, each) => (each[1] < best[1] ? each : best));
    const reached = `At ${times} times the rates it ends at ${written(last)}`;
    if (written(least) === written(now)) return `No rate up to ${times} times as high lowers it.`;
    if (last > now) return `${reached}, above where it began.`;
    return bestTimes < times ? `${reached}; of those tried, ${bestTimes} times is best.` : `${reached}, the lowest of those tried.`;
  }

  // Say what the next step does, and what steps of other lengths would do; a loss that is not finite counts as infinite.
  function describeRates(given, count) {
    const losses = given.map(([times, loss]) => [times, Number.isFinite(loss) ? loss : Infinity]);
    const [now, once, twice] = [0, 1, 2].map((times) => losses.find(([each]) => each === times)[1]);
    const numbers = [now, once, twice].map(written);
    return (
      `One step with ${describeBatch(count)} takes their mean loss from ${numbers[0]} to ${numbers[1]}, with twice the rates to ${numbers[2]}. ` +
      `${compareFalls(now, once, twice)} ${describeLongest(losses)}`
    );
  }

  // Say why an error is the product of the derivative by a value, `back`, and a slope, of the unit {name, back, slope, error} with the
  // largest such derivative; `strongest` is the unit with the largest error.
  function describeProduct(layer, unit, strongest) {
    const [back, slope, error] = [unit.back, unit.slope, unit.error].map(written);
    const [nablaA, nablaZ] = [`∇a${layer}`, `∇z${layer}`];
    const said =
      `${unit.name} has the largest ${nablaA} in size, ${back}, and a slope of ${slope}. If its z grows by 0.001, ` +
      `its a grows by 0.001 × ${slope}, and C by ${back} times that: its ${nablaZ} is ${back} × ${slope} = ${error}.`;
    if (strongest.name === unit.name) return said;
    const [other, itsSlope, itsError] = [strongest.back, strongest.slope, strongest.error].map(written);
    return `${said} ${strongest.name} has the largest ${nablaZ} in size, ${itsError}: its ${nablaA} is ${other} and its slope ${itsSlope}.`;
  }

  // Say how the output that was most wrong moved, and the one that moved most; an output is {name, before, after, difference, slope}, without
  // a slope if none is a factor of its error.
  function describeMoves(outputs) {
    const mostBy = (sizeOf) => outputs.reduce((most, each) => (sizeOf(each) > sizeOf(most) ? each : most));
    const distance = ({ before, after }) => Math.abs(after - before);
    const worst = mostBy(({ difference }) => Math.abs(difference));
    const moved = mostBy(distance);
    const way = ({ before, after }) => `from ${written(before)} to ${written(after)}`;
    const slopeOf = ({ slope }) => (slope === undefined ? "" : `; its slope was ${written(slope)}`);
    const isHardly = distance(worst) <= HARDLY * Math.abs(worst.difference);
    const said = `${worst.name} was most wrong${isHardly ? ", yet hardly moved" : " and moved"}, ${way(worst)}${slopeOf(worst)}.`;
    return moved === worst ? said : `${said} ${moved.name} moved most, ${way(moved)}${slopeOf(moved)}.`;
  }

  // Say what a step of one example does to its loss.
  function describeStep(rates, now, once, twice) {
    const [weights, biases, ...numbers] = [...rates, now, once, twice].map(written);
    return (
      `With rates of ${weights} for weights and ${biases} for biases, the loss of this example goes from ${numbers[0]} to ${numbers[1]}, ` +
      `with twice these rates to ${numbers[2]}. ${compareFalls(now, once, twice)}`
    );
  }

  return { describeNetwork, describeBatch, describeRates, describeProduct, describeMoves, describeStep };
})();
