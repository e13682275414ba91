"""One law of the optimal timescale: a posterior over log2 tau, continuous in everything that moves it.

    log2 tau_run = level + data · log2((u + 5) / 25) + epochs · log2 T
                 + tanh(log2(T) / 2.5) · (lr · log2(lr / usual lr) + batch · log2(B / usual B))
                 + schedule · log2(2 · mean of the schedule)

and more terms for samples and Muon; `fitted` has the numbers with their errors, `features` the meaning of each term.

    features     what of a run moves its optimum, as the few numbers that the law is linear in
    fitting      evidence -> the law's constants, and how it and every rule do on sources that were left out
    fitted       those constants, written by `fitting`
    posterior    the law and a user's own optima -> what is believed of a run
    nearness     how near the evidence is to a run
    cost         what a weight decay that is off costs
"""
